using System.Buffers;
using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// A handle on one node of an <see cref="ApiObject"/>. The default value is the undefined node: every read on it is safe and answers "nothing",
/// so that paths can be walked without checks (<c>pod["spec"u8]["nodeName"u8].Utf8</c>). Writes on it throw.
/// </summary>
/// <remarks>Reads allocate nothing unless they answer a string. Member lookup is linear in the members of a small object, a hash in a big one. Same thread rule as the document.</remarks>
public readonly partial struct ApiNode : IEquatable<ApiNode>
{
    private readonly ApiObject? _document;

    internal ApiNode(ApiObject document, int index)
    {
        _document = index == 0 ? null : document;
        Index = index;
    }

    internal int Index { get; }

    /// <summary>
    /// The place of the first element whose <paramref name="field"/> has that text (nothing counts as ""); -1 when there is none. Linear in a short array, a
    /// lookup in a long one, as long as the document is not changed in between.
    /// </summary>
    internal int PlaceOf(ReadOnlySpan<byte> field, ReadOnlySpan<byte> text, out ApiNode element)
    {
        element = default;
        if (Kind != NodeKind.Array)
            return -1;
        var (place, found) = _document!.FindElement(Index, field, text);
        element = new ApiNode(_document, found);
        return place;
    }

    /// <summary>What the node holds.</summary>
    public NodeKind Kind => _document is null ? NodeKind.Undefined : _document[Index].Kind;

    /// <summary>True unless this is the undefined node.</summary>
    public bool IsDefined => _document is not null;

    /// <summary>True for the undefined node and for JSON null.</summary>
    public bool IsNullOrUndefined => Kind <= NodeKind.Null;

    /// <summary>Members of an object or elements of an array; 0 for everything else.</summary>
    public int Count => Kind is NodeKind.Object or NodeKind.Array ? _document![Index].Count : 0;

    /// <summary>The document that the node belongs to. Throws on the undefined node.</summary>
    public ApiObject Document => _document ?? throw Undefined();

    /// <summary>The member's name under which the node hangs in its object; empty elsewhere.</summary>
    public ReadOnlySpan<byte> Name => _document is null ? default : _document.NameOf(Index);

    /// <summary>The member of that name; undefined when absent or when this is no object.</summary>
    public ApiNode this[ReadOnlySpan<byte> name] => _document is null ? default : new ApiNode(_document, _document.Find(Index, name));

    /// <summary>The element at that place; undefined when out of range or when this is no array. Linear in the index, unless places are asked for one after the other.</summary>
    public ApiNode this[int index]
    {
        get
        {
            if (Kind != NodeKind.Array || (uint)index >= (uint)_document![Index].Count)
                return default;
            return new ApiNode(_document, _document.ElementAt(Index, index));
        }
    }

    /// <summary>Members in document order. The current member may be removed or changed while enumerating.</summary>
    public MemberEnumerable Members => new(this);

    /// <summary>Elements in order. The current element may be removed or changed while enumerating.</summary>
    public ElementEnumerable Elements => new(this);

    /// <summary>The string's bytes without escapes, or the number's text; empty for everything else. Valid until the document is disposed.</summary>
    public ReadOnlySpan<byte> Utf8 => Kind is NodeKind.String or NodeKind.Number ? _document!.TextOf(Index) : default;

    /// <summary>The string or the number's text as a new string; "" for everything else.</summary>
    public string AsString() => Encoding.UTF8.GetString(Utf8);

    /// <summary>The number, if this is one that fits and has no fraction or exponent.</summary>
    public bool TryGetInt64(out long value)
    {
        value = 0;
        return Kind == NodeKind.Number && Utf8Parser.TryParse(Utf8, out value, out var used) && used == Utf8.Length;
    }

    /// <summary>The number, or the fallback when this is not one that fits.</summary>
    public long AsInt64(long fallback = 0) => TryGetInt64(out var value) ? value : fallback;

    /// <summary>The truth value, or the fallback when this is none.</summary>
    public bool AsBool(bool fallback = false) => Kind switch { NodeKind.True => true, NodeKind.False => false, _ => fallback };

    /// <summary>True if this is a string of exactly these bytes.</summary>
    public bool Equals(ReadOnlySpan<byte> utf8) => Kind == NodeKind.String && _document!.TextOf(Index).SequenceEqual(utf8);

    /// <summary>True if both are the same place in the same document.</summary>
    public bool Equals(ApiNode other) => ReferenceEquals(_document, other._document) && Index == other.Index;

    /// <inheritdoc/>
    public override bool Equals([NotNullWhen(true)] object? obj) => obj is ApiNode other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_document, Index);

    /// <summary>Same place in the same document.</summary>
    public static bool operator ==(ApiNode left, ApiNode right) => left.Equals(right);

    /// <summary>Not the same place in the same document.</summary>
    public static bool operator !=(ApiNode left, ApiNode right) => !left.Equals(right);

    /// <summary>Same value: the order of object members does not matter, numbers compare by value where the texts differ, null is not absence.</summary>
    public bool DeepEquals(ApiNode other)
    {
        if (Kind != other.Kind)
            return false;
        switch (Kind)
        {
            case NodeKind.String:
                return Utf8.SequenceEqual(other.Utf8);
            case NodeKind.Number:
                return Utf8.SequenceEqual(other.Utf8) || NumbersEqual(Utf8, other.Utf8);
            case NodeKind.Array:
                if (Count != other.Count)
                    return false;
                StackGuard.Enter();
                var theirs = other.Elements.GetEnumerator();
                foreach (var element in Elements)
                {
                    if (!theirs.MoveNext() || !element.DeepEquals(theirs.Current))
                        return false;
                }
                return true;
            case NodeKind.Object:
                return MembersEqual(other);
            default:
                return true;
        }
    }

    /// <summary>Writes the node as compact JSON in document order, with the escapes of upstream's encoder. No schema rules; for those see JsonCodec.</summary>
    public void WriteJson(IBufferWriter<byte> output)
    {
        var writer = new JsonTextWriter(output);
        WriteJson(ref writer);
        writer.Flush();
    }

    /// <summary>The node as compact JSON text, for messages and tests.</summary>
    public override string ToString()
    {
        if (!IsDefined)
            return "";
        var buffer = new ArrayBufferWriter<byte>();
        WriteJson(buffer);
        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    internal void WriteJson(ref JsonTextWriter writer)
    {
        switch (Kind)
        {
            case NodeKind.Object:
                StackGuard.Enter();
                writer.Raw((byte)'{');
                var isFirstMember = true;
                for (var child = _document![Index].First; child != 0 && !writer.IsSpent; child = _document[child].Next)
                {
                    if (!isFirstMember)
                        writer.Raw((byte)',');
                    isFirstMember = false;
                    writer.String(_document.NameOf(child));
                    writer.Raw((byte)':');
                    new ApiNode(_document, child).WriteJson(ref writer);
                }
                writer.Raw((byte)'}');
                break;
            case NodeKind.Array:
                StackGuard.Enter();
                writer.Raw((byte)'[');
                var isFirst = true;
                for (var child = _document![Index].First; child != 0 && !writer.IsSpent; child = _document[child].Next)
                {
                    if (!isFirst)
                        writer.Raw((byte)',');
                    isFirst = false;
                    new ApiNode(_document, child).WriteJson(ref writer);
                }
                writer.Raw((byte)']');
                break;
            case NodeKind.String:
                writer.String(Utf8);
                break;
            case NodeKind.Number:
                writer.Raw(Utf8);
                break;
            case NodeKind.True:
                writer.Raw("true"u8);
                break;
            case NodeKind.False:
                writer.Raw("false"u8);
                break;
            default:
                writer.Raw("null"u8);
                break;
        }
    }

    // A member of the same name is usually at the same place, so one pass over both lists settles most objects.
    private bool MembersEqual(ApiNode other)
    {
        StackGuard.Enter();
        if (Count != other.Count)
            return false;
        var theirs = other.Document[other.Index].First;
        for (var mine = _document![Index].First; mine != 0; mine = _document[mine].Next)
        {
            var name = _document.NameOf(mine);
            var match = theirs != 0 && other.Document.NameOf(theirs).SequenceEqual(name) ? theirs : other.Document.Find(other.Index, name);
            if (match == 0 || !new ApiNode(_document, mine).DeepEquals(new ApiNode(other.Document, match)))
                return false;
            theirs = other.Document[match].Next;
        }
        return true;
    }

    private static bool NumbersEqual(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right) =>
        Utf8Parser.TryParse(left, out double a, out var usedLeft) && usedLeft == left.Length
        && Utf8Parser.TryParse(right, out double b, out var usedRight) && usedRight == right.Length && a.Equals(b);

    private static InvalidOperationException Undefined() => new("the node is undefined: nothing can be written to it");
}
