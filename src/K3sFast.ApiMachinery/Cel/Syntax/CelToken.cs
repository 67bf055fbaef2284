namespace K3sFast.ApiMachinery;

/// <summary>The tokens, in the order in which upstream's messages list them.</summary>
internal enum CelTokenKind : byte
{
    Equals, NotEquals, In, Less, LessEquals, GreaterEquals, Greater, And, Or,
    LeftBracket, RightBracket, LeftBrace, RightBrace, LeftParen, RightParen,
    Dot, Comma, Minus, Exclamation, Question, Colon, Plus, Star, Slash, Percent,
    True, False, Null, Float, Int, Uint, String, Bytes, Identifier, EscapedIdentifier, End,
}

/// <summary>A token: its kind and where it stands in the source.</summary>
internal readonly record struct CelToken(CelTokenKind Kind, int Start, int Length)
{
    internal int End => Start + Length;

    private static readonly string[] s_names =
    [
        "'=='", "'!='", "'in'", "'<'", "'<='", "'>='", "'>'", "'&&'", "'||'", "'['", "']'", "'{'", "'}'", "'('", "')'", "'.'", "','", "'-'", "'!'",
        "'?'", "':'", "'+'", "'*'", "'/'", "'%'", "'true'", "'false'", "'null'", "NUM_FLOAT", "NUM_INT", "NUM_UINT", "STRING", "BYTES", "IDENTIFIER", "ESC_IDENTIFIER", "<EOF>",
    ];

    /// <summary>A set of kinds as messages show it: one alone, several in braces.</summary>
    internal static string Show(ReadOnlySpan<CelTokenKind> kinds)
    {
        if (kinds.Length == 1)
            return s_names[(int)kinds[0]];
        var sorted = kinds.ToArray();
        Array.Sort(sorted);
        return $"{{{string.Join(", ", sorted.Select(static kind => s_names[(int)kind]))}}}";
    }
}
