using System.Buffers;

namespace K3sFast.ApiMachinery;

/// <summary>Cuts an expression into tokens. Layout by the lexer rules of the CEL grammar: the longest match counts, blanks and // comments are skipped.</summary>
internal ref struct CelLexer(string source, CelIssues issues)
{
    private static readonly SearchValues<char> s_escapes = SearchValues.Create("abfnrtv\"'\\?`");
    private int _at;

    /// <summary>All tokens, the last of them End. What is no token is reported and skipped.</summary>
    internal List<CelToken> ReadAll()
    {
        var tokens = new List<CelToken>();
        while (true)
        {
            SkipBlanks();
            if (_at == source.Length)
                break;
            int start = _at;
            if (TryRead(out var kind))
                tokens.Add(new CelToken(kind, start, _at - start));
        }
        tokens.Add(new CelToken(CelTokenKind.End, source.Length, 0));
        return tokens;
    }

    private readonly char Peek(int ahead = 0) => _at + ahead < source.Length ? source[_at + ahead] : '\0';

    private void SkipBlanks()
    {
        while (_at < source.Length)
        {
            if (source[_at] is '\t' or ' ' or '\r' or '\n' or '\f')
            {
                _at++;
            }
            else if (source[_at] == '/' && Peek(1) == '/')
            {
                int end = source.IndexOf('\n', _at);
                _at = end < 0 ? source.Length : end;
            }
            else
            {
                return;
            }
        }
    }

    private bool TryRead(out CelTokenKind kind)
    {
        char first = source[_at];
        if (char.IsAsciiDigit(first) || first == '.' && char.IsAsciiDigit(Peek(1)))
        {
            kind = ReadNumber();
            return true;
        }
        if (TryReadString(out kind, out bool isString) || isString)
            return kind != CelTokenKind.End;
        if (char.IsAsciiLetter(first) || first == '_')
        {
            kind = ReadWord();
            return true;
        }
        if (first == '`')
            return TryReadEscapedIdentifier(out kind);
        return TryReadSign(first, out kind);
    }

    private CelTokenKind ReadWord()
    {
        int start = _at;
        while (_at < source.Length && (char.IsAsciiLetterOrDigit(source[_at]) || source[_at] == '_'))
            _at++;
        return source.AsSpan(start, _at - start) switch
        {
            "in" => CelTokenKind.In,
            "true" => CelTokenKind.True,
            "false" => CelTokenKind.False,
            "null" => CelTokenKind.Null,
            _ => CelTokenKind.Identifier,
        };
    }

    private CelTokenKind ReadNumber()
    {
        if (source[_at] == '0' && Peek(1) == 'x' && char.IsAsciiHexDigit(Peek(2)))
        {
            _at += 2;
            while (char.IsAsciiHexDigit(Peek()))
                _at++;
            return TakeUnsigned();
        }
        Digits();
        bool isFloat = false;
        if (Peek() == '.' && char.IsAsciiDigit(Peek(1)))
        {
            isFloat = true;
            _at++;
            Digits();
        }
        int sign = Peek(1) is '+' or '-' ? 2 : 1;
        if (Peek() is 'e' or 'E' && char.IsAsciiDigit(Peek(sign)))
        {
            isFloat = true;
            _at += sign;
            Digits();
        }
        return isFloat ? CelTokenKind.Float : TakeUnsigned();
    }

    private CelTokenKind TakeUnsigned()
    {
        if (Peek() is not ('u' or 'U'))
            return CelTokenKind.Int;
        _at++;
        return CelTokenKind.Uint;
    }

    private void Digits()
    {
        while (char.IsAsciiDigit(Peek()))
            _at++;
    }

    // A prefix of b, r or both before the quote; isString says that it was one, End that it was a broken one.
    private bool TryReadString(out CelTokenKind kind, out bool isString)
    {
        int prefix = 0;
        kind = CelTokenKind.String;
        if (Peek() is 'b' or 'B')
        {
            kind = CelTokenKind.Bytes;
            prefix++;
        }
        bool isRaw = Peek(prefix) is 'r' or 'R';
        prefix += isRaw ? 1 : 0;
        char quote = Peek(prefix);
        isString = quote is '"' or '\'';
        if (!isString)
            return false;
        int start = _at;
        int at = _at + prefix;
        bool isTriple = source.AsSpan(at).StartsWith(quote == '"' ? "\"\"\"" : "'''");
        int end = isTriple ? FindTripleEnd(at + 3, quote, isRaw) : FindEnd(at + 1, quote, isRaw);
        // Three quotes that never end are an empty string and the start of another.
        if (end < 0 && isTriple)
            (isTriple, end) = (false, at + 2);
        if (end >= 0)
        {
            _at = end;
            return true;
        }
        Unrecognized(start, ~end);
        kind = CelTokenKind.End;
        return false;
    }

    // The place after the closing quote, or the complement of the place where it went wrong.
    private readonly int FindEnd(int at, char quote, bool isRaw)
    {
        for (; at < source.Length; at++)
        {
            char unit = source[at];
            if (unit == quote)
                return at + 1;
            if (unit is '\n' or '\r')
                return ~at;
            if (unit != '\\' || isRaw)
                continue;
            int length = EscapeLength(at);
            if (length < 0)
                return ~Math.Min(at + -length, source.Length);
            at += length - 1;
        }
        return ~source.Length;
    }

    private readonly int FindTripleEnd(int at, char quote, bool isRaw)
    {
        for (; at < source.Length; at++)
        {
            if (source[at] == quote && at + 2 < source.Length && source[at + 1] == quote && source[at + 2] == quote)
                return at + 3;
            if (source[at] != '\\' || isRaw)
                continue;
            int length = EscapeLength(at);
            if (length < 0)
                return ~at;
            at += length - 1;
        }
        return ~source.Length;
    }

    // The length of the escape at that place; negative: where in it the mistake is.
    private readonly int EscapeLength(int at)
    {
        char kind = at + 1 < source.Length ? source[at + 1] : '\0';
        if (s_escapes.Contains(kind))
            return 2;
        int digits = kind switch { 'x' or 'X' => 2, 'u' => 4, 'U' => 8, >= '0' and <= '3' => 2, _ => -1 };
        if (digits < 0)
            return -1;
        for (int i = 0; i < digits; i++)
        {
            char digit = at + 2 + i < source.Length ? source[at + 2 + i] : '\0';
            if (kind <= '3' ? digit is < '0' or > '7' : !char.IsAsciiHexDigit(digit))
                return -(2 + i);
        }
        return 2 + digits;
    }

    private bool TryReadEscapedIdentifier(out CelTokenKind kind)
    {
        int at = _at + 1;
        while (at < source.Length && (char.IsAsciiLetterOrDigit(source[at]) || source[at] is '_' or '.' or '-' or '/' or ' '))
            at++;
        kind = CelTokenKind.EscapedIdentifier;
        if (at < source.Length && source[at] == '`' && at > _at + 1)
        {
            _at = at + 1;
            return true;
        }
        Unrecognized(_at, at);
        return false;
    }

    private bool TryReadSign(char first, out CelTokenKind kind)
    {
        int length = 1;
        char second = Peek(1);
        switch (first)
        {
            case '=' when second == '=': kind = CelTokenKind.Equals; length = 2; break;
            case '!' when second == '=': kind = CelTokenKind.NotEquals; length = 2; break;
            case '<' when second == '=': kind = CelTokenKind.LessEquals; length = 2; break;
            case '>' when second == '=': kind = CelTokenKind.GreaterEquals; length = 2; break;
            case '&' when second == '&': kind = CelTokenKind.And; length = 2; break;
            case '|' when second == '|': kind = CelTokenKind.Or; length = 2; break;
            case '<': kind = CelTokenKind.Less; break;
            case '>': kind = CelTokenKind.Greater; break;
            case '[': kind = CelTokenKind.LeftBracket; break;
            case ']': kind = CelTokenKind.RightBracket; break;
            case '{': kind = CelTokenKind.LeftBrace; break;
            case '}': kind = CelTokenKind.RightBrace; break;
            case '(': kind = CelTokenKind.LeftParen; break;
            case ')': kind = CelTokenKind.RightParen; break;
            case '.': kind = CelTokenKind.Dot; break;
            case ',': kind = CelTokenKind.Comma; break;
            case '-': kind = CelTokenKind.Minus; break;
            case '!': kind = CelTokenKind.Exclamation; break;
            case '?': kind = CelTokenKind.Question; break;
            case ':': kind = CelTokenKind.Colon; break;
            case '+': kind = CelTokenKind.Plus; break;
            case '*': kind = CelTokenKind.Star; break;
            case '/': kind = CelTokenKind.Slash; break;
            case '%': kind = CelTokenKind.Percent; break;
            default:
                kind = default;
                Unrecognized(_at, first is '=' or '&' or '|' ? _at + 1 : _at);
                return false;
        }
        _at += length;
        return true;
    }

    // The text that was read and the character that does not fit are gone.
    private void Unrecognized(int start, int misfit)
    {
        int end = Math.Min(misfit + (misfit < source.Length && char.IsHighSurrogate(source[misfit]) ? 2 : 1), source.Length);
        issues.Report(start, $"Syntax error: token recognition error at: '{source[start..end].Replace("\n", "\\n", StringComparison.Ordinal).Replace("\r", "\\r", StringComparison.Ordinal).Replace("\t", "\\t", StringComparison.Ordinal)}'");
        _at = Math.Max(end, _at + 1);
    }
}
