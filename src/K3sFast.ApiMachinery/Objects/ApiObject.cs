using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace K3sFast.ApiMachinery;

/// <summary>
/// One parsed, mutable JSON-like document: an arena of nodes over one pooled UTF-8 text. It lives on the write path only; what is at rest is bytes.
/// Handles into it are <see cref="ApiNode"/>. Whoever got it disposes it, exactly once; its memory then serves the next document.
/// </summary>
/// <remarks>
/// One thread at a time. Node 0 means "none". Children of a container form a singly linked list in document order. Names, strings and numbers are
/// slices of the text; text only grows, and outgrown buffers are kept until the document is returned, so that spans handed out stay valid until then.
/// </remarks>
public sealed partial class ApiObject : IDisposable
{
    /// <summary>One node: 32 bytes. For scalars, First and Last are start and length of the text slice; for containers, first and last child.</summary>
    internal struct Node
    {
        public NodeKind Kind;
        public bool IsAttached;
        public short FieldHint;
        public int Next;
        public int NameStart;
        public int NameLength;
        public int First;
        public int Last;
        public int Count;
    }

    // From so many members or elements on a table finds them.
    private const int IndexedFrom = 128;

    private Node[] _nodes = [];
    private byte[] _text = [];

    // Of objects with so many members that a search through them would cost more than a table.
    private Dictionary<int, MemberIndex>? _indexes;

    // Of arrays that elements are looked up in by a field; good until the document changes.
    private Dictionary<(int Array, string Field), ElementIndex>? _elementIndexes;

    // The place in an array that was asked for last, so that walking it by index is a step each.
    private int _lastArray;
    private int _lastIndex;
    private int _lastElement;
    private int _nodeCount;
    private int _textLength;

    /// <summary>An empty object. Its memory is pooled: dispose it.</summary>
    public ApiObject()
    {
        Reset(0);
        RootIndex = NewNode(NodeKind.Object);
        _nodes[RootIndex].IsAttached = true;
    }

    /// <summary>The top node; for patch bodies and other free documents it may be of any kind.</summary>
    public ApiNode Root => new(this, RootIndex);

    internal int RootIndex { get; set; }

    /// <summary>A new empty object node of this document that hangs nowhere yet; attach it with Set, Append or Insert, which then move it without a copy.</summary>
    public ApiNode NewObject() => new(this, NewNode(NodeKind.Object));

    /// <summary>A new empty array node of this document that hangs nowhere yet; see <see cref="NewObject"/>.</summary>
    public ApiNode NewArray() => new(this, NewNode(NodeKind.Array));

    /// <summary>A new string node of this document that hangs nowhere yet.</summary>
    public ApiNode NewString(ReadOnlySpan<byte> utf8)
    {
        var index = NewNode(NodeKind.String);
        SetText(index, utf8);
        return new ApiNode(this, index);
    }

    /// <summary>An empty object from the pool. Same as the constructor, without its allocation in the steady state.</summary>
    public static ApiObject Rent()
    {
        var document = RentForDecode(0);
        document.RootIndex = document.NewNode(NodeKind.Object);
        document._nodes[document.RootIndex].IsAttached = true;
        return document;
    }

    /// <summary>A deep copy in a document of its own.</summary>
    public ApiObject Clone()
    {
        var copy = RentForDecode(_textLength);
        copy.RootIndex = copy.CopyFrom(this, RootIndex);
        copy._nodes[copy.RootIndex].IsAttached = true;
        return copy;
    }

    /// <summary>Makes <paramref name="node"/> (of any document) the root, by deep copy unless it is a detached node of this document.</summary>
    public void ReplaceRoot(ApiNode node) => RootIndex = Adopt(node);

    internal int NodeCount => _nodeCount;

    /// <summary>With so many nodes the document grows no more: what would make it grow is refused with 413.</summary>
    internal int MaxNodes { get; set; }

    internal ref Node this[int index]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref _nodes[index];
    }

    internal ReadOnlySpan<byte> Text(int start, int length) => _text.AsSpan(start, length);

    internal ReadOnlySpan<byte> NameOf(int index)
    {
        ref var node = ref _nodes[index];
        return _text.AsSpan(node.NameStart, node.NameLength);
    }

    internal ReadOnlySpan<byte> TextOf(int index)
    {
        ref var node = ref _nodes[index];
        return _text.AsSpan(node.First, node.Last);
    }

    internal int NewNode(NodeKind kind)
    {
        if (_nodeCount == _nodes.Length)
            GrowNodes();
        var index = _nodeCount++;
        _nodes[index] = default;
        _nodes[index].Kind = kind;
        return index;
    }

    /// <summary>Appends bytes to the text and answers where they start. The source may be a slice of this very text.</summary>
    internal int AppendText(ReadOnlySpan<byte> bytes)
    {
        var destination = ReserveText(bytes.Length);
        bytes.CopyTo(destination);
        var start = _textLength;
        _textLength += bytes.Length;
        return start;
    }

    /// <summary>Room for <paramref name="length"/> more bytes of text; keep what was written with <see cref="CommitText"/>.</summary>
    internal Span<byte> ReserveText(int length)
    {
        if (_text.Length - _textLength < length)
            GrowText(length);
        return _text.AsSpan(_textLength, length);
    }

    internal int CommitText(int length)
    {
        var start = _textLength;
        _textLength += length;
        return start;
    }

    internal void SetText(int index, ReadOnlySpan<byte> bytes)
    {
        _elementIndexes = null;
        var start = AppendText(bytes);
        ref var node = ref _nodes[index];
        node.First = start;
        node.Last = bytes.Length;
    }

    internal void SetName(int index, ReadOnlySpan<byte> name)
    {
        var start = AppendText(name);
        ref var node = ref _nodes[index];
        node.NameStart = start;
        node.NameLength = name.Length;
    }

    /// <summary>Hangs a detached node at the end of a container.</summary>
    internal void Link(int parent, int child)
    {
        ref var container = ref _nodes[parent];
        ref var node = ref _nodes[child];
        Debug.Assert(!node.IsAttached, "a node hangs in one place only");
        node.IsAttached = true;
        node.Next = 0;
        _elementIndexes = null;
        if (container.Last == 0)
            container.First = child;
        else
            _nodes[container.Last].Next = child;
        container.Last = child;
        container.Count++;
    }

    /// <summary>Takes a child out of its container; <paramref name="previous"/> is its elder sibling or 0.</summary>
    internal void Unlink(int parent, int previous, int child)
    {
        if (_indexes is not null && _indexes.TryGetValue(parent, out var index))
            index.Remove(this, parent, previous, child);
        _lastArray = 0;
        _elementIndexes = null;
        ref var container = ref _nodes[parent];
        ref var node = ref _nodes[child];
        if (previous == 0)
            container.First = node.Next;
        else
            _nodes[previous].Next = node.Next;
        if (container.Last == child)
            container.Last = previous;
        container.Count--;
        node.IsAttached = false;
        node.Next = 0;
    }

    internal int Find(int parent, ReadOnlySpan<byte> name)
    {
        ref var container = ref _nodes[parent];
        if (container.Kind != NodeKind.Object)
            return 0;
        if (container.Count >= IndexedFrom)
            return IndexOf(parent).Find(this, parent, name, out _);
        for (var child = container.First; child != 0; child = _nodes[child].Next)
        {
            ref var node = ref _nodes[child];
            if (node.NameLength == name.Length && _text.AsSpan(node.NameStart, node.NameLength).SequenceEqual(name))
                return child;
        }
        return 0;
    }

    /// <summary>Takes the member of that name out of an object; false when there is none.</summary>
    internal bool Remove(int parent, ReadOnlySpan<byte> name)
    {
        var elder = 0;
        if (_nodes[parent].Count >= IndexedFrom)
        {
            var found = IndexOf(parent).Find(this, parent, name, out elder);
            if (found != 0)
                Unlink(parent, elder, found);
            return found != 0;
        }
        for (var child = _nodes[parent].First; child != 0; elder = child, child = _nodes[child].Next)
        {
            if (!NameOf(child).SequenceEqual(name))
                continue;
            Unlink(parent, elder, child);
            return true;
        }
        return false;
    }

    /// <summary>The element at a place that the array has.</summary>
    internal int ElementAt(int array, int index)
    {
        var (at, element) = _lastArray == array && _lastIndex <= index ? (_lastIndex, _lastElement) : (0, _nodes[array].First);
        for (; at < index; at++)
            element = _nodes[element].Next;
        (_lastArray, _lastIndex, _lastElement) = (array, index, element);
        return element;
    }

    /// <summary>The first element of an array whose field has that text, with its place; (-1, 0) when there is none.</summary>
    internal (int Place, int Element) FindElement(int array, ReadOnlySpan<byte> field, ReadOnlySpan<byte> text)
    {
        if (_nodes[array].Count >= IndexedFrom)
            return FindElementIndexed(array, field, text);
        int place = 0;
        for (var element = _nodes[array].First; element != 0; element = _nodes[element].Next, place++)
        {
            if (new ApiNode(this, element)[field].Utf8.SequenceEqual(text))
                return (place, element);
        }
        return (-1, 0);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private (int Place, int Element) FindElementIndexed(int array, ReadOnlySpan<byte> field, ReadOnlySpan<byte> text)
    {
        _elementIndexes ??= [];
        var key = (array, System.Text.Encoding.UTF8.GetString(field));
        if (!_elementIndexes.TryGetValue(key, out var index))
            _elementIndexes[key] = index = new ElementIndex(new ApiNode(this, array), field);
        return index.Find(text);
    }

    /// <summary>Forgets what was noted of a container's children; called by whoever changes them in another way than by Link and Unlink.</summary>
    internal void Forget(int container)
    {
        _lastArray = 0;
        _elementIndexes = null;
        _indexes?.Remove(container);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private MemberIndex IndexOf(int parent)
    {
        _indexes ??= [];
        if (!_indexes.TryGetValue(parent, out var index))
            _indexes[parent] = index = new MemberIndex();
        return index;
    }

    /// <summary>The member of that name, emptied for a new value; it is added at the end if it was absent.</summary>
    internal int FindOrAdd(int parent, ReadOnlySpan<byte> name, NodeKind kind)
    {
        var child = Find(parent, name);
        if (child == 0)
        {
            child = NewNode(kind);
            SetName(child, name);
            Link(parent, child);
            return child;
        }
        Forget(child);
        ref var node = ref _nodes[child];
        node.Kind = kind;
        node.First = node.Last = node.Count = 0;
        return child;
    }

    /// <summary>Brings the members of an object into the order of their names' bytes.</summary>
    internal void SortMembers(int index)
    {
        var members = new List<int>();
        for (var child = _nodes[index].First; child != 0; child = _nodes[child].Next)
            members.Add(child);
        members.Sort((left, right) => NameOf(left).SequenceCompareTo(NameOf(right)));
        Forget(index);
        _nodes[index].First = _nodes[index].Last = _nodes[index].Count = 0;
        foreach (var member in members)
        {
            _nodes[member].IsAttached = false;
            Link(index, member);
        }
    }

    /// <summary>A detached node of this document with the value: the node itself if it is one already, else a deep copy.</summary>
    internal int Adopt(ApiNode value)
    {
        if (!value.IsDefined)
            return NewNode(NodeKind.Null);
        return ReferenceEquals(value.Document, this) && !_nodes[value.Index].IsAttached && value.Index != RootIndex
            ? value.Index
            : CopyFrom(value.Document, value.Index);
    }

    /// <summary>A detached deep copy of a node of any document, without its name.</summary>
    internal int CopyFrom(ApiObject source, int index)
    {
        var kind = source._nodes[index].Kind;
        var copy = NewNode(kind);
        if (kind is NodeKind.String or NodeKind.Number)
        {
            if (ReferenceEquals(source, this))
            {
                _nodes[copy].First = _nodes[index].First;
                _nodes[copy].Last = _nodes[index].Last;
            }
            else
            {
                SetText(copy, source.TextOf(index));
            }
        }
        else if (kind is NodeKind.Object or NodeKind.Array)
        {
            StackGuard.Enter();
            for (var child = source._nodes[index].First; child != 0; child = source._nodes[child].Next)
            {
                var childCopy = CopyFrom(source, child);
                if (kind == NodeKind.Object)
                    CopyName(source, child, childCopy);
                Link(copy, childCopy);
            }
        }
        return copy;
    }

    /// <summary>Puts the value of <paramref name="value"/> (detached, of this document) in the place of <paramref name="target"/>, which keeps its name and place.</summary>
    internal void Overwrite(int target, int value)
    {
        Forget(target);
        Forget(value);
        ref var node = ref _nodes[target];
        ref var source = ref _nodes[value];
        node.Kind = source.Kind;
        node.First = source.First;
        node.Last = source.Last;
        node.Count = source.Count;
    }

    internal void CopyName(ApiObject source, int from, int to)
    {
        if (ReferenceEquals(source, this))
        {
            _nodes[to].NameStart = _nodes[from].NameStart;
            _nodes[to].NameLength = _nodes[from].NameLength;
        }
        else
        {
            SetName(to, source.NameOf(from));
        }
    }
}
