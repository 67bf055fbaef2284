using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Unicode;

namespace K3sFast.ApiMachinery;

/// <summary>
/// RFC 8259 tokens of one body, strict as Go's encoding/json and with its words for what is wrong. Strings come out as slices of the document's text:
/// in the copy of the body that is put there first when they have no escapes, behind it otherwise. What is not UTF-8, and surrogates
/// without a partner, become U+FFFD.
/// </summary>
internal ref struct JsonScanner
{
    /// <summary>What ends a string, or the part of it that is text as it stands.</summary>
    internal static readonly SearchValues<byte> StringEnds =
        SearchValues.Create([.. Enumerable.Range(0, 0x20).Select(value => (byte)value), (byte)'"', (byte)'\\']);

    private readonly ReadOnlySpan<byte> _json;
    private readonly ApiObject _document;
    private readonly bool _isUtf8;
    private readonly int _base;
    private int _position;

    public JsonScanner(ReadOnlySpan<byte> json, ApiObject document)
    {
        _json = json;
        _document = document;
        _isUtf8 = Utf8.IsValid(json);
        _base = document.AppendText(json);
    }

    /// <summary>The next byte that is no white space; it is not consumed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte Peek()
    {
        if ((uint)_position < (uint)_json.Length && _json[_position] > ' ')
            return _json[_position];
        return PeekPastSpace();
    }

    /// <summary>Consumes the byte that Peek answered.</summary>
    public void Take() => _position++;

    /// <summary>After a member or element: true for a comma, false for the end.</summary>
    public bool TakeSeparator(byte end, string where)
    {
        var next = Peek();
        if (next != ',' && next != end)
            ThrowInvalidCharacter(next, where);
        _position++;
        return next == ',';
    }

    public void TakeColon()
    {
        var next = Peek();
        if (next != ':')
            ThrowInvalidCharacter(next, "after object key");
        _position++;
    }

    public void ExpectEnd()
    {
        while (_position < _json.Length && _json[_position] is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n')
            _position++;
        if (_position < _json.Length)
            ThrowInvalidCharacter(_json[_position], "after top-level value");
    }

    /// <summary>Consumes a string whose opening quote is the next byte; answers its slice of the document's text.</summary>
    public (int Start, int Length) TakeString()
    {
        var start = _position + 1;
        var end = _json[start..].IndexOfAny(StringEnds);
        if (end >= 0 && _json[start + end] == '"' && _isUtf8)
        {
            _position = start + end + 1;
            return (_base + start, end);
        }
        return TakeStringSlow(start);
    }

    /// <summary>Goes past a value that begins with the next byte, without a look at what it is; false = it has to be read.</summary>
    public bool TrySkip()
    {
        var cursor = new JsonCursor(_json) { Position = _position };
        if (!cursor.TrySkip())
            return false;
        _position = cursor.Position;
        return true;
    }

    /// <summary>Consumes a number; answers its slice.</summary>
    public (int Start, int Length) TakeNumber()
    {
        var start = _position;
        var i = _position;
        if (_json[i] == '-')
            i = Next(i);
        if (_json[i] == '0')
            i++;
        else if (_json[i] is >= (byte)'1' and <= (byte)'9')
            i = Digits(i);
        else
            ThrowInvalidCharacter(_json[i], "in numeric literal");
        if (i < _json.Length && _json[i] == '.')
        {
            i = Next(i);
            if (!char.IsAsciiDigit((char)_json[i]))
                ThrowInvalidCharacter(_json[i], "after decimal point in numeric literal");
            i = Digits(i);
        }
        if (i < _json.Length && _json[i] is (byte)'e' or (byte)'E')
        {
            i = Next(i);
            if (_json[i] is (byte)'+' or (byte)'-')
                i = Next(i);
            if (!char.IsAsciiDigit((char)_json[i]))
                ThrowInvalidCharacter(_json[i], "in exponent of numeric literal");
            i = Digits(i);
        }
        _position = i;
        return (_base + start, i - start);
    }

    /// <summary>Consumes true, false or null.</summary>
    public NodeKind TakeLiteral()
    {
        var rest = _json[_position..];
        var (word, kind) = rest[0] switch
        {
            (byte)'t' => ("true", NodeKind.True),
            (byte)'f' => ("false", NodeKind.False),
            (byte)'n' => ("null", NodeKind.Null),
            _ => ("", NodeKind.Undefined),
        };
        if (word.Length == 0)
            ThrowInvalidCharacter(rest[0], "looking for beginning of value");
        for (var i = 1; i < word.Length; i++)
        {
            if (i >= rest.Length)
                ThrowUnexpectedEnd();
            if (rest[i] != word[i])
                ThrowInvalidCharacter(rest[i], $"in literal {word} (expecting '{word[i]}')");
        }
        _position += word.Length;
        return kind;
    }

    [DoesNotReturn]
    public static void ThrowInvalidCharacter(byte found, string where)
    {
        var quoted = found switch
        {
            (byte)'\'' => "'\\''",
            (byte)'"' => "'\"'",
            _ => $"'{GoText.Quote([(char)found])[1..^1]}'",
        };
        throw new JsonSyntaxException($"invalid character {quoted} {where}");
    }

    [DoesNotReturn]
    public static void ThrowUnexpectedEnd() => throw new JsonSyntaxException("unexpected end of JSON input");

    [MethodImpl(MethodImplOptions.NoInlining)]
    private byte PeekPastSpace()
    {
        while (_position < _json.Length && _json[_position] is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n')
            _position++;
        if (_position >= _json.Length)
            ThrowUnexpectedEnd();
        return _json[_position];
    }

    private readonly int Next(int i)
    {
        if (i + 1 >= _json.Length)
            ThrowUnexpectedEnd();
        return i + 1;
    }

    private readonly int Digits(int i)
    {
        while (i < _json.Length && _json[i] is >= (byte)'0' and <= (byte)'9')
            i++;
        return i;
    }

    private (int Start, int Length) TakeStringSlow(int start)
    {
        // First find the end and the places that are wrong, then decode once; the result is never longer than the source plus what U+FFFD adds.
        var end = start;
        while (true)
        {
            if (end >= _json.Length)
                ThrowUnexpectedEnd();
            var value = _json[end];
            if (value == '"')
                break;
            if (value < ' ')
                ThrowInvalidCharacter(value, "in string literal");
            end += value == '\\' ? CheckEscape(end) : 1;
        }
        var source = _json[start..end];
        _position = end + 1;
        var destination = _document.ReserveText(source.Length * 3);
        var length = Unescape(source, destination);
        return (_document.CommitText(length), length);
    }

    private readonly int CheckEscape(int at)
    {
        if (at + 1 >= _json.Length)
            ThrowUnexpectedEnd();
        switch (_json[at + 1])
        {
            case (byte)'"' or (byte)'\\' or (byte)'/' or (byte)'b' or (byte)'f' or (byte)'n' or (byte)'r' or (byte)'t':
                return 2;
            case (byte)'u':
                for (var i = 2; i < 6; i++)
                {
                    if (at + i >= _json.Length)
                        ThrowUnexpectedEnd();
                    if (!char.IsAsciiHexDigit((char)_json[at + i]))
                        ThrowInvalidCharacter(_json[at + i], "in \\u hexadecimal character escape");
                }
                return 6;
            default:
                ThrowInvalidCharacter(_json[at + 1], "in string escape code");
                return 0;
        }
    }

    /// <summary>The text of a string whose escapes are right; answers its length. Text that is UTF-8 never grows.</summary>
    internal static int Unescape(ReadOnlySpan<byte> source, Span<byte> destination)
    {
        var written = 0;
        while (source.Length > 0)
        {
            if (source[0] != '\\')
            {
                // Rune.DecodeFromUtf8 answers U+FFFD for what is no UTF-8, one per maximal wrong sequence.
                Rune.DecodeFromUtf8(source, out var rune, out var used);
                written += rune.EncodeToUtf8(destination[written..]);
                source = source[used..];
                continue;
            }
            var escaped = source[1];
            if (escaped != 'u')
            {
                destination[written++] = escaped switch
                {
                    (byte)'b' => (byte)'\b',
                    (byte)'f' => (byte)'\f',
                    (byte)'n' => (byte)'\n',
                    (byte)'r' => (byte)'\r',
                    (byte)'t' => (byte)'\t',
                    _ => escaped,
                };
                source = source[2..];
                continue;
            }
            var unit = (char)HexUnit(source[2..]);
            source = source[6..];
            if (char.IsHighSurrogate(unit) && source.Length >= 6 && source[0] == '\\' && source[1] == 'u' && char.IsLowSurrogate((char)HexUnit(source[2..])))
            {
                written += new Rune(unit, (char)HexUnit(source[2..])).EncodeToUtf8(destination[written..]);
                source = source[6..];
            }
            else
            {
                written += (Rune.TryCreate(unit, out var rune) ? rune : Rune.ReplacementChar).EncodeToUtf8(destination[written..]);
            }
        }
        return written;
    }

    private static int HexUnit(ReadOnlySpan<byte> digits)
    {
        var value = 0;
        for (var i = 0; i < 4; i++)
            value = (value << 4) | (digits[i] <= '9' ? digits[i] - '0' : (digits[i] | 0x20) - 'a' + 10);
        return value;
    }
}
