using System.Buffers;
using System.Numerics;
using System.Runtime.Intrinsics;
using K3sFast.ApiMachinery;

namespace K3sFast.WatchCache.Json;

/// <summary>
/// Walks JSON that was written by a JSON writer, forward only, skipping what nobody asked for at the speed of a byte search. Checks
/// only what it needs to stay on its feet: stored values were validated when they were written. Throws <see cref="FormatException"/>.
/// </summary>
internal ref struct JsonScanner(ReadOnlySpan<byte> json)
{
    private static readonly SearchValues<byte> s_stringEnd = SearchValues.Create("\"\\"u8);
    private static readonly SearchValues<byte> s_scalarEnd = SearchValues.Create(",}] \t\r\n"u8);

    private readonly ReadOnlySpan<byte> _json = json;

    /// <summary>Where the walk stands.</summary>
    public int Position { get; private set; }

    /// <summary>Where the member that was read last begins, its opening quote.</summary>
    public int MemberStart { get; private set; }

    /// <summary>The first byte of the value that the walk stands before.</summary>
    public byte Peek()
    {
        SkipSpace();
        return Position < _json.Length ? _json[Position] : throw Malformed("ends early");
    }

    /// <summary>Steps into the object that the walk stands before.</summary>
    public void EnterObject() => Expect((byte)'{');

    /// <summary>Reads the next member's name (raw, without quotes) and stands before its value; false = the object ended and was left.</summary>
    public bool NextMember(out ReadOnlySpan<byte> name)
    {
        // As our own writer leaves it: no space anywhere, and a name of at most 15 bytes, none of them escaped.
        int at = Position;
        if (at < _json.Length && _json[at] == ',') at++;
        if (at <= _json.Length - (Vector128<byte>.Count + 3) && _json[at] == '"')
        {
            var bytes = Vector128.Create(_json.Slice(at + 1, Vector128<byte>.Count));
            var ends = Vector128.Equals(bytes, Vector128.Create((byte)'"')) | Vector128.Equals(bytes, Vector128.Create((byte)'\\'));
            int length = BitOperations.TrailingZeroCount(ends.ExtractMostSignificantBits());
            if (length < Vector128<byte>.Count && _json[at + 1 + length] == '"' && _json[at + 2 + length] == ':' && _json[at + 3 + length] > ' ')
            {
                MemberStart = at;
                Position = at + length + 3;
                name = _json.Slice(at + 1, length);
                return true;
            }
        }
        return NextMemberSlow(out name);
    }

    private bool NextMemberSlow(out ReadOnlySpan<byte> name)
    {
        byte next = Peek();
        if (next == ',')
        {
            Position++;
            next = Peek();
        }
        if (next == '}')
        {
            Position++;
            name = default;
            return false;
        }
        MemberStart = Position;
        SkipString();
        name = _json[(MemberStart + 1)..(Position - 1)];
        Expect((byte)':');
        SkipSpace();
        return true;
    }

    /// <summary>Steps into the array that the walk stands before.</summary>
    public void EnterArray() => Expect((byte)'[');

    /// <summary>Stands before the next element; false = the array ended and was left.</summary>
    public bool NextElement()
    {
        byte next = Peek();
        if (next == ',')
        {
            Position++;
            next = Peek();
        }
        if (next == '}') throw Malformed("has no ']' where one must be");
        if (next != ']') return true;
        Position++;
        return false;
    }

    /// <summary>Goes to the end of the outermost object: all there is before the last bracket is taken for its members.</summary>
    public void SkipRest()
    {
        int end = _json.Length - 1;
        while (end > Position && _json[end] is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t') end--;
        if (end < Position || _json[end] != '}') throw Malformed("is not closed");
        Position = end;
    }

    /// <summary>Skips the value that the walk stands before.</summary>
    public void SkipValue()
    {
        switch (Peek())
        {
            case (byte)'"':
                SkipString();
                return;
            case (byte)'{' or (byte)'[':
                SkipNested();
                return;
            default:
                int length = _json[Position..].IndexOfAny(s_scalarEnd);
                Position = length < 0 ? _json.Length : Position + length;
                return;
        }
    }

    private void SkipNested()
    {
        int end = JsonBlocks.EndOf(_json, Position, asWritten: false);
        if (end < 0) throw Malformed("is not closed");
        Position = end;
    }

    private void SkipString()
    {
        if (_json[Position] != '"') throw Malformed("has no string where one must be");
        int at = Position + 1;
        // Most strings are short: no search is called for them.
        if (at <= _json.Length - Vector128<byte>.Count)
        {
            var bytes = Vector128.Create(_json.Slice(at, Vector128<byte>.Count));
            var ends = Vector128.Equals(bytes, Vector128.Create((byte)'"')) | Vector128.Equals(bytes, Vector128.Create((byte)'\\'));
            if (ends == default)
            {
                at += Vector128<byte>.Count;
            }
            else
            {
                at += BitOperations.TrailingZeroCount(ends.ExtractMostSignificantBits());
                if (_json[at] == '"')
                {
                    Position = at + 1;
                    return;
                }
            }
        }
        while (true)
        {
            int step = _json[at..].IndexOfAny(s_stringEnd);
            if (step < 0) throw Malformed("has an open string");
            at += step;
            if (_json[at] == '"') break;
            at += 2;
            if (at >= _json.Length) throw Malformed("has an open string");
        }
        Position = at + 1;
    }

    private void Expect(byte expected)
    {
        if (Peek() != expected) throw Malformed($"has no '{(char)expected}' where one must be");
        Position++;
    }

    private void SkipSpace()
    {
        while (Position < _json.Length && _json[Position] is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t') Position++;
    }

    private readonly FormatException Malformed(string what) => new($"stored JSON {what} at byte {Position}");
}
