using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// A set of field paths: a trie whose edges are path elements, sorted under each node. A node may be a member itself, have children, or both.
/// It reads and writes the JSON form of metadata.managedFields[].fieldsV1. Pooled: whoever rents it disposes it.
/// </summary>
/// <remarks>
/// One thread at a time. Node 0 means "none", node 1 is the root, which stands for the whole object and is never a member. Builders append children in
/// any order and call <see cref="Sort"/> once; everything else wants the set sorted.
/// </remarks>
public sealed partial class FieldSet : IDisposable
{
    /// <summary>One step: the element is a slice of the text.</summary>
    private struct Node
    {
        public int Start;
        public int Length;
        public int First;
        public int Last;
        public int Next;
        public bool IsMember;
        public bool IsUnsorted;
    }

    internal const int Root = 1;

    private const int InitialNodes = 16;
    private const int InitialText = 128;

    // Bigger arrays go back to the shared pool with the set, so that one huge object does not stay resident.
    private const int MaxKeptNodes = 4096;
    private const int MaxKeptText = 64 * 1024;

    private static readonly FieldSet?[] s_pool = new FieldSet?[24];

    private Node[] _nodes = [];
    private byte[] _text = [];
    private int _nodeCount;
    private int _textLength;
    private bool _hasUnsorted;
    private bool _isReturned;

    private FieldSet()
    {
    }

    /// <summary>True when there is no path in the set.</summary>
    public bool IsEmpty => _nodes[Root].First == 0;

    /// <summary>An empty set.</summary>
    public static FieldSet Rent()
    {
        for (var i = 0; i < s_pool.Length; i++)
        {
            var pooled = Volatile.Read(ref s_pool[i]);
            if (pooled is not null && Interlocked.CompareExchange(ref s_pool[i], null, pooled) == pooled)
                return pooled.Reset();
        }
        return new FieldSet().Reset();
    }

    /// <summary>The set of these paths, each as dotted field names, for example metadata.labels.</summary>
    public static FieldSet Of(params ReadOnlySpan<string> paths)
    {
        var set = Rent();
        foreach (var path in paths)
        {
            var node = Root;
            foreach (var name in path.Split('.'))
                node = set.GetOrAdd(node, Encoding.UTF8.GetBytes($"f:{name}"));
            set._nodes[node].IsMember = true;
        }
        return set;
    }

    /// <summary>Reads fieldsV1. Elements of kinds that this version does not know are dropped, as upstream does.</summary>
    /// <exception cref="FormatException">An element is not readable.</exception>
    public static FieldSet Read(ApiNode fields)
    {
        var set = Rent();
        try
        {
            set.ReadChildren(fields, Root);
            set._nodes[Root].IsMember = false;
            set.Sort();
            return set;
        }
        catch
        {
            set.Dispose();
            throw;
        }
    }

    /// <summary>A copy of its own.</summary>
    public FieldSet Clone()
    {
        var copy = Rent();
        copy.CopyChildren(Root, this, Root);
        return copy;
    }

    /// <summary>Returns the memory. A second call in a row does nothing.</summary>
    public void Dispose()
    {
        if (_isReturned)
            return;
        _isReturned = true;
        if (_nodes.Length > MaxKeptNodes || _text.Length > MaxKeptText)
            Release();
        for (var i = 0; i < s_pool.Length; i++)
        {
            if (Volatile.Read(ref s_pool[i]) is null && Interlocked.CompareExchange(ref s_pool[i], this, null) is null)
                return;
        }
        Release();
    }

    /// <summary>Writes the set as fieldsV1 into an empty object node.</summary>
    public void WriteTo(ApiNode fields) => WriteChildren(Root, fields);

    /// <summary>The paths as messages show them (<c>.spec.replicas</c>), members of a level before what lies below them.</summary>
    public IReadOnlyList<string> Paths()
    {
        var paths = new List<string>();
        AddPaths(Root, "", paths);
        return paths;
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        using var document = ApiObject.Rent();
        WriteTo(document.Root);
        return document.Root.ToString();
    }

    internal ReadOnlySpan<byte> ElementOf(int node) => _text.AsSpan(_nodes[node].Start, _nodes[node].Length);

    internal bool IsMember(int node) => _nodes[node].IsMember;

    internal void SetMember(int node) => _nodes[node].IsMember = node != Root;

    /// <summary>Takes away what is below a node and makes the node itself a member.</summary>
    internal void MakeLeaf(int node)
    {
        _nodes[node].First = _nodes[node].Last = 0;
        _nodes[node].IsMember = true;
    }

    internal int FirstChild(int node) => _nodes[node].First;

    internal int NextSibling(int node) => _nodes[node].Next;

    /// <summary>The child with that element; 0 when there is none.</summary>
    internal int Child(int parent, ReadOnlySpan<byte> element)
    {
        for (var child = _nodes[parent].First; child != 0; child = _nodes[child].Next)
        {
            var order = PathElement.Compare(ElementOf(child), element);
            if (order == 0)
                return child;
            if (order > 0)
                return 0;
        }
        return 0;
    }

    /// <summary>The child that is the field or map key of that name; 0 when there is none.</summary>
    internal int ChildField(int parent, ReadOnlySpan<byte> name)
    {
        for (var child = _nodes[parent].First; child != 0; child = _nodes[child].Next)
        {
            var element = ElementOf(child);
            if (element[0] == PathElement.Field && element[2..].SequenceEqual(name))
                return child;
        }
        return 0;
    }

    /// <summary>Adds a child behind the others; the caller knows that it is new, or that <see cref="Sort"/> will unite the two.</summary>
    internal int Append(int parent, byte kind, ReadOnlySpan<byte> body)
    {
        var text = ReserveText(body.Length + 2);
        text[0] = kind;
        text[1] = (byte)':';
        body.CopyTo(text[2..]);
        return Link(parent, body.Length + 2);
    }

    /// <summary>Adds a child behind the others from its whole text.</summary>
    internal int Append(int parent, ReadOnlySpan<byte> element)
    {
        element.CopyTo(ReserveText(element.Length));
        return Link(parent, element.Length);
    }

    private FieldSet Reset()
    {
        _isReturned = false;
        if (_nodes.Length == 0)
            _nodes = ArrayPool<Node>.Shared.Rent(InitialNodes);
        if (_text.Length == 0)
            _text = ArrayPool<byte>.Shared.Rent(InitialText);
        _nodes[0] = _nodes[Root] = default;
        _nodeCount = Root + 1;
        _textLength = 0;
        _hasUnsorted = false;
        return this;
    }

    private void Release()
    {
        if (_nodes.Length > 0)
            ArrayPool<Node>.Shared.Return(_nodes);
        if (_text.Length > 0)
            ArrayPool<byte>.Shared.Return(_text);
        _nodes = [];
        _text = [];
    }

    private Span<byte> ReserveText(int length)
    {
        if (_text.Length - _textLength < length)
        {
            var grown = ArrayPool<byte>.Shared.Rent(Math.Max(_text.Length * 2, _textLength + length));
            _text.AsSpan(0, _textLength).CopyTo(grown);
            ArrayPool<byte>.Shared.Return(_text);
            _text = grown;
        }
        return _text.AsSpan(_textLength, length);
    }

    private int Link(int parent, int length)
    {
        if (_nodeCount == _nodes.Length)
        {
            var grown = ArrayPool<Node>.Shared.Rent(_nodes.Length * 2);
            _nodes.AsSpan(0, _nodeCount).CopyTo(grown);
            ArrayPool<Node>.Shared.Return(_nodes);
            _nodes = grown;
        }
        var node = _nodeCount++;
        _nodes[node] = new Node { Start = _textLength, Length = length };
        _textLength += length;
        ref var container = ref _nodes[parent];
        if (container.Last == 0)
        {
            container.First = node;
        }
        else
        {
            if (PathElement.Compare(ElementOf(container.Last), ElementOf(node)) >= 0)
                container.IsUnsorted = _hasUnsorted = true;
            _nodes[container.Last].Next = node;
        }
        container.Last = node;
        return node;
    }

    private int GetOrAdd(int parent, ReadOnlySpan<byte> element)
    {
        var child = Child(parent, element);
        if (child != 0)
            return child;
        child = Append(parent, element);
        Sort();
        return child;
    }

    // Returns whether the node itself is a member: it says so, or has nothing below it.
    private bool ReadChildren(ApiNode fields, int node)
    {
        StackGuard.Enter();
        var isMember = false;
        foreach (var member in fields.Members)
        {
            if (member.Name.SequenceEqual("."u8))
            {
                isMember = true;
                continue;
            }
            if (member.Name.Length < 2)
                throw new FormatException("key must be 2 characters long:");
            if (member.Name[1] != ':')
                throw new FormatException($"missing colon: {Encoding.UTF8.GetString(member.Name)}");
            if (!PathElement.IsKnown(member.Name))
                continue;
            var child = Append(node, member.Name);
            // Reading may move the nodes, so the place to write to is looked up after it.
            var isChildMember = ReadChildren(member.Value, child);
            _nodes[child].IsMember = isChildMember;
        }
        return isMember || _nodes[node].First == 0;
    }

    private void WriteChildren(int node, ApiNode fields)
    {
        StackGuard.Enter();
        for (var child = _nodes[node].First; child != 0; child = _nodes[child].Next)
        {
            var inner = fields.AddObject(ElementOf(child));
            if (_nodes[child].First == 0)
                continue;
            if (_nodes[child].IsMember)
                inner.AddObject("."u8);
            WriteChildren(child, inner);
        }
    }

    private void AddPaths(int node, string prefix, List<string> paths)
    {
        StackGuard.Enter();
        for (var child = _nodes[node].First; child != 0; child = _nodes[child].Next)
        {
            if (_nodes[child].IsMember)
                paths.Add(prefix + PathElement.Describe(ElementOf(child)));
        }
        for (var child = _nodes[node].First; child != 0; child = _nodes[child].Next)
        {
            if (_nodes[child].First != 0)
                AddPaths(child, prefix + PathElement.Describe(ElementOf(child)), paths);
        }
    }
}
