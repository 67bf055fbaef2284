using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>What a string or bytes literal means: quotes off, escapes resolved.</summary>
internal static class CelLiteral
{
    private const string Broken = "unable to unescape string";

    internal static bool TryText(string literal, [NotNullWhen(true)] out string? value, out string problem)
    {
        value = null;
        if (!TryUnescape(literal, isBytes: false, out var bytes, out problem))
            return false;
        value = Encoding.UTF8.GetString(bytes);
        return true;
    }

    internal static bool TryBytes(string literal, [NotNullWhen(true)] out byte[]? value, out string problem) => TryUnescape(literal, isBytes: true, out value, out problem);

    private static bool TryUnescape(string literal, bool isBytes, [NotNullWhen(true)] out byte[]? value, out string problem)
    {
        problem = "";
        bool isRaw = literal[0] is 'r' or 'R';
        var text = literal.AsSpan(isRaw ? 1 : 0);
        bool isTriple = text.Length >= 6 && (text.StartsWith("\"\"\"") || text.StartsWith("'''"));
        string content = (isTriple ? text[3..^3] : text[1..^1]).ToString().Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        if (isRaw || !content.Contains('\\', StringComparison.Ordinal))
        {
            value = Encoding.UTF8.GetBytes(content);
            return true;
        }
        var output = new List<byte>(content.Length);
        Span<byte> encoded = stackalloc byte[4];
        for (int i = 0; i < content.Length; i++)
        {
            if (content[i] != '\\')
            {
                Rune.DecodeFromUtf16(content.AsSpan(i), out var rune, out int used);
                output.AddRange(encoded[..rune.EncodeToUtf8(encoded)]);
                i += used - 1;
                continue;
            }
            char kind = content[++i];
            if (Simple(kind) is var simple and >= 0)
            {
                output.Add((byte)simple);
                continue;
            }
            int digits = kind switch { 'x' or 'X' => 2, 'u' => 4, 'U' => 8, _ => 0 };
            int code = digits > 0 ? Convert.ToInt32(content.Substring(i + 1, digits), 16) : Convert.ToInt32(content.Substring(i, 3), 8);
            i += digits > 0 ? digits : 2;
            value = null;
            if (isBytes && digits > 2)
            {
                problem = Broken;
                return false;
            }
            if (isBytes)
            {
                output.Add((byte)code);
                continue;
            }
            if (!Rune.IsValid(code))
            {
                problem = "invalid unicode code point";
                return false;
            }
            output.AddRange(encoded[..new Rune(code).EncodeToUtf8(encoded)]);
        }
        value = [.. output];
        return true;
    }

    private static int Simple(char kind) => kind switch
    {
        'a' => '\a',
        'b' => '\b',
        'f' => '\f',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\v',
        '\\' or '\'' or '"' or '`' or '?' => kind,
        _ => -1,
    };
}
