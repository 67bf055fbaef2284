using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

// What changes the document.
public readonly partial struct ApiNode
{
    /// <summary>The object under that name; anything else there, or nothing, is replaced by an empty object.</summary>
    public ApiNode GetOrAddObject(ReadOnlySpan<byte> name) => GetOrAdd(name, NodeKind.Object);

    /// <summary>Adds an empty object under a name that the caller knows to be new, so that it is not searched for.</summary>
    internal ApiNode AddObject(ReadOnlySpan<byte> name)
    {
        var document = Writable(NodeKind.Object);
        var child = document.NewNode(NodeKind.Object);
        document.SetName(child, name);
        document.Link(Index, child);
        return new ApiNode(document, child);
    }

    /// <summary>The array under that name; anything else there, or nothing, is replaced by an empty array.</summary>
    public ApiNode GetOrAddArray(ReadOnlySpan<byte> name) => GetOrAdd(name, NodeKind.Array);

    /// <summary>Sets a member to a string; answers the member's node. An existing member keeps its place.</summary>
    public ApiNode Set(ReadOnlySpan<byte> name, ReadOnlySpan<byte> utf8String)
    {
        var document = Writable(NodeKind.Object);
        var child = document.FindOrAdd(Index, name, NodeKind.String);
        document.SetText(child, utf8String);
        return new ApiNode(document, child);
    }

    /// <inheritdoc cref="Set(ReadOnlySpan{byte}, ReadOnlySpan{byte})"/>
    public ApiNode Set(ReadOnlySpan<byte> name, string value)
    {
        var document = Writable(NodeKind.Object);
        var child = document.FindOrAdd(Index, name, NodeKind.String);
        var length = Encoding.UTF8.GetBytes(value, document.ReserveText(Encoding.UTF8.GetByteCount(value)));
        document[child].First = document.CommitText(length);
        document[child].Last = length;
        return new ApiNode(document, child);
    }

    /// <summary>Sets a member to a whole number.</summary>
    public ApiNode Set(ReadOnlySpan<byte> name, long value)
    {
        Span<byte> digits = stackalloc byte[24];
        value.TryFormat(digits, out var length, default, CultureInfo.InvariantCulture);
        return SetNumber(name, digits[..length]);
    }

    /// <summary>Sets a member to true or false.</summary>
    public ApiNode Set(ReadOnlySpan<byte> name, bool value)
    {
        var document = Writable(NodeKind.Object);
        return new ApiNode(document, document.FindOrAdd(Index, name, value ? NodeKind.True : NodeKind.False));
    }

    /// <summary>Sets a member to a value of any document: a deep copy, except that a detached node of this document is attached itself.</summary>
    public ApiNode Set(ReadOnlySpan<byte> name, ApiNode value)
    {
        var document = Writable(NodeKind.Object);
        var adopted = document.Adopt(value);
        var existing = document.Find(Index, name);
        if (existing != 0)
        {
            document.Overwrite(existing, adopted);
            return new ApiNode(document, existing);
        }
        document.SetName(adopted, name);
        document.Link(Index, adopted);
        return new ApiNode(document, adopted);
    }

    /// <summary>Sets a member to a number given as JSON text, which is kept as it is.</summary>
    public ApiNode SetNumber(ReadOnlySpan<byte> name, ReadOnlySpan<byte> numberText)
    {
        var document = Writable(NodeKind.Object);
        var child = document.FindOrAdd(Index, name, NodeKind.Number);
        document.SetText(child, numberText);
        return new ApiNode(document, child);
    }

    /// <summary>Sets a member to null.</summary>
    public void SetNull(ReadOnlySpan<byte> name) => Writable(NodeKind.Object).FindOrAdd(Index, name, NodeKind.Null);

    /// <summary>Takes the member out. False when there was none (or this is no object).</summary>
    public bool Remove(ReadOnlySpan<byte> name) => Kind == NodeKind.Object && _document!.Remove(Index, name);

    /// <summary>Adds a value of any document at the end of the array, by the same copy rule as <see cref="Set(ReadOnlySpan{byte}, ApiNode)"/>.</summary>
    public ApiNode Append(ApiNode value)
    {
        var document = Writable(NodeKind.Array);
        var child = document.Adopt(value);
        document.Link(Index, child);
        return new ApiNode(document, child);
    }

    /// <summary>Adds a string at the end of the array.</summary>
    public ApiNode AppendString(ReadOnlySpan<byte> utf8)
    {
        var document = Writable(NodeKind.Array);
        var child = document.NewNode(NodeKind.String);
        document.SetText(child, utf8);
        document.Link(Index, child);
        return new ApiNode(document, child);
    }

    /// <summary>Adds an empty object at the end of the array.</summary>
    public ApiNode AppendObject()
    {
        var document = Writable(NodeKind.Array);
        var child = document.NewNode(NodeKind.Object);
        document.Link(Index, child);
        return new ApiNode(document, child);
    }

    /// <summary>Puts a value before the element at that place; the length of the array means at the end.</summary>
    public ApiNode Insert(int index, ApiNode value)
    {
        var document = Writable(NodeKind.Array);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)index, (uint)document[Index].Count);
        if (index == document[Index].Count)
            return Append(value);
        var child = document.Adopt(value);
        document.Forget(Index);
        var previous = 0;
        for (var i = 0; i < index; i++)
            previous = previous == 0 ? document[Index].First : document[previous].Next;
        ref var place = ref previous == 0 ? ref document[Index].First : ref document[previous].Next;
        document[child].Next = place;
        place = child;
        document[child].IsAttached = true;
        document[Index].Count++;
        return new ApiNode(document, child);
    }

    /// <summary>Takes out the element at that place.</summary>
    public void RemoveAt(int index)
    {
        var document = Writable(NodeKind.Array);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)document[Index].Count);
        var previous = 0;
        var child = document[Index].First;
        for (; index > 0; index--)
        {
            previous = child;
            child = document[child].Next;
        }
        document.Unlink(Index, previous, child);
    }

    /// <summary>Takes out all members or elements.</summary>
    public void Clear()
    {
        if (Kind is not (NodeKind.Object or NodeKind.Array))
            return;
        _document!.Forget(Index);
        ref var node = ref _document[Index];
        node.First = node.Last = node.Count = 0;
    }

    /// <summary>Puts another value in this node's place; the copy rule is that of <see cref="Set(ReadOnlySpan{byte}, ApiNode)"/>.</summary>
    public void ReplaceWith(ApiNode value)
    {
        var document = Document;
        document.Overwrite(Index, document.Adopt(value));
    }

    /// <summary>Turns this node into a string.</summary>
    public void SetString(ReadOnlySpan<byte> utf8)
    {
        var document = Document;
        document.Forget(Index);
        document.SetText(Index, utf8);
        document[Index].Kind = NodeKind.String;
        document[Index].Count = 0;
    }

    private ApiNode GetOrAdd(ReadOnlySpan<byte> name, NodeKind kind)
    {
        var document = Writable(NodeKind.Object);
        var child = document.Find(Index, name);
        if (child == 0 || document[child].Kind != kind)
            child = document.FindOrAdd(Index, name, kind);
        return new ApiNode(document, child);
    }

    private ApiObject Writable(NodeKind kind)
    {
        var document = Document;
        if (document[Index].Kind != kind)
            ThrowWrongKind(kind, document[Index].Kind);
        return document;
    }

    [DoesNotReturn]
    private static void ThrowWrongKind(NodeKind wanted, NodeKind found) => throw new InvalidOperationException($"the node is {found}, not {wanted}");
}
