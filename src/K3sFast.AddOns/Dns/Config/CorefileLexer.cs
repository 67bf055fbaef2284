using System.Text;

namespace K3sFast.AddOns.Dns;

/// <summary>A word of a Corefile and where it stands.</summary>
internal readonly record struct CorefileToken(string Text, string File, int Line, bool IsQuoted)
{
    internal bool Is(string text) => !IsQuoted && Text == text;
}

/// <summary>
/// Cuts a Corefile into words: separated by white space; in quotation marks (with \" for one) a word may hold spaces and lines; # begins a
/// comment at the start of a word; {$NAME} and {%NAME%} stand for variables of the environment.
/// </summary>
internal static class CorefileLexer
{
    // A Corefile lives in a ConfigMap of at most 1 MiB; imports may repeat themselves, but not for ever.
    internal const int MaxTokens = 100_000;

    internal static List<CorefileToken> Read(string text, string file)
    {
        var tokens = new List<CorefileToken>();
        var word = new StringBuilder();
        var line = 1;
        for (var i = 0; i < text.Length;)
        {
            var c = text[i];
            if (char.IsWhiteSpace(c) || c == '\uFEFF')
            {
                if (c == '\n') line++;
                i++;
                continue;
            }
            if (c == '#')
            {
                while (i < text.Length && text[i] != '\n') i++;
                continue;
            }
            var start = line;
            var isQuoted = c == '"';
            word.Clear();
            if (isQuoted) i = ReadQuoted(text, i + 1, word, file, ref line);
            else
            {
                while (i < text.Length && !char.IsWhiteSpace(text[i])) word.Append(text[i++]);
            }
            tokens.Add(new CorefileToken(Expand(word.ToString()), file, start, isQuoted));
            if (tokens.Count > MaxTokens) throw new CorefileException(file, line, "the file has too many words");
        }
        return tokens;
    }

    private static int ReadQuoted(string text, int i, StringBuilder word, string file, ref int line)
    {
        var start = line;
        for (; i < text.Length; i++)
        {
            var c = text[i];
            if (c == '"') return i + 1;
            if (c == '\\' && i + 1 < text.Length && text[i + 1] == '"') c = text[++i];
            else if (c == '\n') line++;
            word.Append(c);
        }
        throw new CorefileException(file, start, "the quotation mark is never closed");
    }

    private static string Expand(string word)
    {
        word = Expand(word, "{$", "}");
        return Expand(word, "{%", "%}");
    }

    private static string Expand(string word, string open, string close)
    {
        var at = word.IndexOf(open, StringComparison.Ordinal);
        while (at >= 0)
        {
            var end = word.IndexOf(close, at + open.Length, StringComparison.Ordinal);
            if (end < 0) break;
            var value = Environment.GetEnvironmentVariable(word[(at + open.Length)..end]) ?? "";
            word = word[..at] + value + word[(end + close.Length)..];
            at = word.IndexOf(open, at + value.Length, StringComparison.Ordinal);
        }
        return word;
    }
}
