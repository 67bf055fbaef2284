using System.Buffers;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Steps through compact JSON, which is how objects are stored: no white space, names without escapes. It makes nothing of what it passes, trusts the text
/// to be JSON and stays inside it if it is not. Every step answers false for what it does not take: then a reader of all JSON has to be asked.
/// </summary>
/// <remarks>Lives on the stack; allocates nothing.</remarks>
internal ref struct JsonCursor(ReadOnlySpan<byte> json)
{
    // What ends a number or a word.
    private static readonly SearchValues<byte> s_scalarEnds = SearchValues.Create(",]} \t\r\n"u8);

    private readonly ReadOnlySpan<byte> _json = json;

    /// <summary>Where the next byte is; may be set back to where it was.</summary>
    public int Position { get; set; }

    /// <summary>Everything is read.</summary>
    public readonly bool IsAtEnd => Position == _json.Length;

    /// <summary>What comes next.</summary>
    public readonly ReadOnlySpan<byte> Rest => _json[Position..];

    /// <summary>The value of a member of the object that the text is, as it stands there; false when there is none or the text is not compact.</summary>
    public static bool TryFind(ReadOnlySpan<byte> json, ReadOnlySpan<byte> member, out ReadOnlySpan<byte> value)
    {
        var cursor = new JsonCursor(json);
        value = default;
        if (!cursor.TryOpen((byte)'{', (byte)'}', out var hasMore))
            return false;
        while (hasMore)
        {
            if (!cursor.TryTakeName(out var name))
                return false;
            var start = cursor.Position;
            if (!cursor.TrySkip())
                return false;
            if (name.SequenceEqual(member))
            {
                value = json[start..cursor.Position];
                return true;
            }
            if (!cursor.TryNext((byte)'}', out hasMore))
                return false;
        }
        return false;
    }

    /// <summary>The next byte; 0 at the end.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly byte Peek() => (uint)Position < (uint)_json.Length ? _json[Position] : (byte)0;

    /// <summary>Takes a byte that must come next.</summary>
    public bool TryTake(byte expected)
    {
        if (Peek() != expected)
            return false;
        Position++;
        return true;
    }

    /// <summary>Takes bytes if they come next.</summary>
    public bool TryTake(ReadOnlySpan<byte> expected)
    {
        if (!_json[Position..].StartsWith(expected))
            return false;
        Position += expected.Length;
        return true;
    }

    /// <summary>Goes into an object or array.</summary>
    public bool TryOpen(byte open, byte close, out bool hasMore)
    {
        hasMore = false;
        if (Peek() != open)
            return false;
        Position++;
        hasMore = Peek() != close;
        if (!hasMore)
            Position++;
        return true;
    }

    /// <summary>Goes past what follows a value: a comma, or the end of its object or array.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryNext(byte close, out bool hasMore)
    {
        var next = Peek();
        hasMore = next == ',';
        Position++;
        return hasMore || next == close;
    }

    /// <summary>Takes a member's name and its colon.</summary>
    public bool TryTakeName(out ReadOnlySpan<byte> name)
    {
        name = default;
        if (Peek() != '"')
            return false;
        var rest = _json[(Position + 1)..];
        var end = rest.IndexOfAny((byte)'"', (byte)'\\');
        if (end < 0 || end + 1 >= rest.Length || rest[end] != '"' || rest[end + 1] != ':')
            return false;
        name = rest[..end];
        Position += end + 3;
        return true;
    }

    /// <summary>Takes a string; the answer is what stands between its quotes, escapes as they are.</summary>
    public bool TryTakeString(out ReadOnlySpan<byte> text, out bool hasEscapes)
    {
        text = default;
        hasEscapes = false;
        if (Peek() != '"')
            return false;
        var start = Position + 1;
        var at = start;
        // Most strings are short and have no escapes.
        for (; at + Vector128<byte>.Count <= _json.Length; at += Vector128<byte>.Count)
        {
            var part = Vector128.Create(_json.Slice(at, Vector128<byte>.Count));
            var ends = (Vector128.Equals(part, Vector128.Create((byte)'"')) | Vector128.Equals(part, Vector128.Create((byte)'\\'))
                | Vector128.LessThan(part, Vector128.Create((byte)' '))).ExtractMostSignificantBits();
            if (ends == 0)
                continue;
            at += BitOperations.TrailingZeroCount(ends);
            if (_json[at] != '"')
                break;
            text = _json[start..at];
            Position = at + 1;
            return true;
        }
        return TryTakeStringSlow(start, at, out text, out hasEscapes);
    }

    private bool TryTakeStringSlow(int start, int at, out ReadOnlySpan<byte> text, out bool hasEscapes)
    {
        text = default;
        hasEscapes = false;
        while (true)
        {
            var rest = _json[at..];
            var length = rest.IndexOfAny(JsonScanner.StringEnds);
            if (length < 0)
                return false;
            if (rest[length] == '"')
            {
                text = _json.Slice(start, at + length - start);
                Position = at + length + 1;
                return true;
            }
            var escape = rest[length] == '\\' ? EscapeLength(rest[length..]) : 0;
            if (escape == 0)
                return false;
            hasEscapes = true;
            at += length + escape;
        }
    }

    /// <summary>Takes a string that has no escapes.</summary>
    public bool TryTakePlain(out ReadOnlySpan<byte> text) => TryTakeString(out text, out var hasEscapes) && !hasEscapes;

    /// <summary>Goes past a value, whatever it is.</summary>
    public bool TrySkip() => TrySkip(asWritten: false);

    /// <summary>Takes a value whose text is what upstream's encoder would write for it, escapes and all.</summary>
    public bool TryTakeRaw(out ReadOnlySpan<byte> value)
    {
        var start = Position;
        var isTaken = TrySkip(asWritten: true);
        value = isTaken ? _json[start..Position] : default;
        return isTaken;
    }

    private bool TrySkip(bool asWritten)
    {
        if (Peek() is (byte)'{' or (byte)'[')
        {
            var end = JsonBlocks.EndOf(_json, Position, asWritten);
            if (end > 0)
            {
                Position = end;
                return true;
            }
        }
        return TrySkipSlow(asWritten);
    }

    private bool TrySkipSlow(bool asWritten)
    {
        var depth = 0;
        do
        {
            switch (Peek())
            {
                case (byte)'"':
                    if (!(asWritten ? TrySkipWrittenString() : TrySkipString()))
                        return false;
                    break;
                case (byte)'{' or (byte)'[':
                    depth++;
                    Position++;
                    break;
                case (byte)'}' or (byte)']':
                    depth--;
                    Position++;
                    break;
                case (byte)',' or (byte)':' when depth > 0:
                    Position++;
                    break;
                case (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n' when depth > 0 && !asWritten:
                    Position++;
                    break;
                default:
                    var length = _json[Math.Min(Position, _json.Length)..].IndexOfAny(s_scalarEnds);
                    if (length == 0 || (length < 0 && Position >= _json.Length))
                        return false;
                    Position = length < 0 ? _json.Length : Position + length;
                    break;
            }
        }
        while (depth > 0);
        return depth == 0;
    }

    private bool TrySkipString()
    {
        for (var at = Position + 1; at < _json.Length; at += 2)
        {
            var length = _json[at..].IndexOfAny((byte)'"', (byte)'\\');
            if (length < 0)
                return false;
            at += length;
            if (_json[at] != '"')
                continue;
            Position = at + 1;
            return true;
        }
        return false;
    }

    private bool TrySkipWrittenString()
    {
        var at = Position + 1;
        while (true)
        {
            var rest = _json[at..];
            var length = rest.IndexOfAny(JsonTextWriter.NeedsCare);
            if (length < 0)
                return false;
            rest = rest[length..];
            at += length;
            if (rest[0] == '"')
            {
                Position = at + 1;
                return true;
            }
            var step = rest[0] switch
            {
                (byte)'\\' => WrittenEscapeLength(rest),
                0xE2 when !rest.StartsWith("\u2028"u8) && !rest.StartsWith("\u2029"u8) => 1,
                _ => 0,
            };
            if (step == 0)
                return false;
            at += step;
        }
    }

    // Of any escape; 0 when it is none.
    private static int EscapeLength(ReadOnlySpan<byte> text)
    {
        if (text.Length < 2)
            return 0;
        if (text[1] != 'u')
            return text[1] is (byte)'"' or (byte)'\\' or (byte)'/' or (byte)'b' or (byte)'f' or (byte)'n' or (byte)'r' or (byte)'t' ? 2 : 0;
        if (text.Length < 6)
            return 0;
        foreach (var digit in text[2..6])
        {
            if (!char.IsAsciiHexDigit((char)digit))
                return 0;
        }
        return 6;
    }

    // Of an escape that upstream's encoder writes; 0 for all others.
    private static int WrittenEscapeLength(ReadOnlySpan<byte> text)
    {
        if (text.Length < 2)
            return 0;
        if (text[1] is (byte)'"' or (byte)'\\' or (byte)'b' or (byte)'f' or (byte)'n' or (byte)'r' or (byte)'t')
            return 2;
        if (text[1] != 'u' || text.Length < 6)
            return 0;
        var digits = text[2..6];
        if (digits.SequenceEqual("003c"u8) || digits.SequenceEqual("003e"u8) || digits.SequenceEqual("0026"u8)
            || digits.SequenceEqual("2028"u8) || digits.SequenceEqual("2029"u8))
            return 6;
        // Control characters that have no short form.
        return digits.StartsWith("00"u8) && digits[2] is (byte)'0' or (byte)'1' && char.IsAsciiHexDigitLower((char)digits[3])
            && !(digits[2] == '0' && digits[3] is (byte)'8' or (byte)'9' or (byte)'a' or (byte)'c' or (byte)'d') ? 6 : 0;
    }
}
