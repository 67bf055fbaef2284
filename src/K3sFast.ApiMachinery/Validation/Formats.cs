using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>The text formats that names and values of many fields have.</summary>
internal enum Format : byte
{
    Dns1123Label,
    Dns1123Subdomain,
    Dns1123SubdomainWithUnderscore,
    WildcardDns1123Subdomain,
    Dns1035Label,
    LabelKey,
    LabelValue,
    ConfigKey,
    PortName,
    PathSegment,
    EnvName,
    HttpHeaderName,
    CIdentifier,
    Address,
}

/// <summary>
/// Checks of text formats: a pass over the bytes that answers yes or no, and the words of upstream for the rare no.
/// </summary>
internal static class Formats
{
    private const int LabelLength = 63;      // RFC 1035 §2.3.4
    private const int SubdomainLength = 253; // 255 octets on the wire less length and root
    private const int PortNameLength = 15;   // RFC 6335 §5.1

    private const string LabelPattern = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    private const string UnderscoreLabelPattern = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    private const string KeyPattern = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    private const string KeyWords = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

    private static readonly SearchValues<byte> s_label = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789-"u8);
    private static readonly SearchValues<byte> s_key = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."u8);
    private static readonly SearchValues<byte> s_header = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"u8);
    private static readonly SearchValues<byte> s_identifier = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"u8);

    /// <summary>Whether a text has the format. Allocates nothing.</summary>
    internal static bool Is(Format format, ReadOnlySpan<byte> text) => format switch
    {
        Format.Dns1123Label => IsLabel(text) && text.Length <= LabelLength,
        Format.Dns1123Subdomain => IsSubdomain(text) && text.Length <= SubdomainLength,
        Format.Dns1123SubdomainWithUnderscore => IsSubdomainWithUnderscore(text) && text.Length <= SubdomainLength,
        Format.WildcardDns1123Subdomain => text.StartsWith("*."u8) && IsSubdomain(text[2..]) && text.Length <= SubdomainLength,
        Format.Dns1035Label => IsLabel(text) && char.IsAsciiLetter((char)text[0]) && text.Length <= LabelLength,
        Format.LabelKey => IsLabelKey(text),
        Format.LabelValue => text.IsEmpty || IsKeyName(text) && text.Length <= LabelLength,
        Format.ConfigKey => !text.IsEmpty && text.Length <= SubdomainLength && text.IndexOfAnyExcept(s_key) < 0 && !text.StartsWith(".."u8) && !text.SequenceEqual("."u8),
        Format.PortName => text.Length is > 0 and <= PortNameLength && text.IndexOfAnyExcept(s_label) < 0 && text.IndexOfAnyInRange((byte)'a', (byte)'z') >= 0
            && text.IndexOf("--"u8) < 0 && text[0] != '-' && text[^1] != '-',
        Format.PathSegment => text.IndexOfAny((byte)'/', (byte)'%') < 0 && !text.SequenceEqual("."u8) && !text.SequenceEqual(".."u8),
        Format.EnvName => !text.IsEmpty && text.IndexOfAnyExceptInRange((byte)0x20, (byte)0x7E) < 0 && text.IndexOf((byte)'=') < 0,
        Format.HttpHeaderName => !text.IsEmpty && text.IndexOfAnyExcept(s_header) < 0,
        Format.Address => Addresses.IsCanonical(Encoding.UTF8.GetString(text)),
        Format.CIdentifier => !text.IsEmpty && !char.IsAsciiDigit((char)text[0]) && text.IndexOfAnyExcept(s_identifier) < 0,
        _ => throw new ArgumentOutOfRangeException(nameof(format)),
    };

    /// <summary>What is wrong with a text, in upstream's words; empty when it has the format.</summary>
    internal static List<string> Problems(Format format, string text)
    {
        var problems = new List<string>();
        var utf8 = Encoding.UTF8.GetBytes(text);
        if (Is(format, utf8))
            return problems;
        switch (format)
        {
            case Format.Dns1123Label:
                AddLength(problems, utf8, LabelLength, "characters");
                if (!IsLabel(utf8))
                    problems.Add(IsSubdomain(utf8) ? "must not contain dots" : Words(
                        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                        LabelPattern, "my-name", "123-abc"));
                break;
            case Format.Dns1123Subdomain:
                AddLength(problems, utf8, SubdomainLength, "characters");
                if (!IsSubdomain(utf8))
                    problems.Add(Words(
                        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
                        SubdomainPattern(LabelPattern), "example.com"));
                break;
            case Format.Dns1123SubdomainWithUnderscore:
                AddLength(problems, utf8, SubdomainLength, "characters");
                if (!IsSubdomainWithUnderscore(utf8))
                    problems.Add(Words(
                        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
                        SubdomainPattern(UnderscoreLabelPattern), "example.com"));
                break;
            case Format.WildcardDns1123Subdomain:
                AddLength(problems, utf8, SubdomainLength, "characters");
                if (!(text.StartsWith("*.", StringComparison.Ordinal) && IsSubdomain(utf8.AsSpan(2))))
                    problems.Add(Words(
                        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
                        "\\*\\." + SubdomainPattern(LabelPattern), "*.example.com"));
                break;
            case Format.Dns1035Label:
                AddLength(problems, utf8, LabelLength, "characters");
                if (!IsLabel(utf8) || !char.IsAsciiLetter(text[0]))
                    problems.Add(Words(
                        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
                        "[a-z]([-a-z0-9]*[a-z0-9])?", "my-name", "abc-123"));
                break;
            case Format.LabelKey:
                AddLabelKeyProblems(problems, text);
                break;
            case Format.LabelValue:
                AddLength(problems, utf8, LabelLength, "bytes");
                if (!IsKeyName(utf8))
                    problems.Add(Words("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                        $"({KeyPattern})?", "MyValue", "my_value", "12345"));
                break;
            case Format.ConfigKey:
                AddLength(problems, utf8, SubdomainLength, "characters");
                if (text.Length == 0 || utf8.AsSpan().IndexOfAnyExcept(s_key) >= 0)
                    problems.Add(Words("a valid config key must consist of alphanumeric characters, '-', '_' or '.'", "[-._a-zA-Z0-9]+", "key.name", "KEY_NAME", "key-name"));
                if (text is "." or "..")
                    problems.Add($"must not be '{text}'");
                else if (text.StartsWith("..", StringComparison.Ordinal))
                    problems.Add("must not start with '..'");
                break;
            case Format.PortName:
                AddLength(problems, utf8, PortNameLength, "characters");
                if (text.Length == 0 || utf8.AsSpan().IndexOfAnyExcept(s_label) >= 0)
                    problems.Add("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
                if (utf8.AsSpan().IndexOfAnyInRange((byte)'a', (byte)'z') < 0)
                    problems.Add("must contain at least one letter (a-z)");
                if (text.Contains("--", StringComparison.Ordinal))
                    problems.Add("must not contain consecutive hyphens");
                if (text.StartsWith('-') || text.EndsWith('-'))
                    problems.Add("must not begin or end with a hyphen");
                break;
            case Format.PathSegment:
                if (text is "." or "..")
                {
                    problems.Add($"may not be '{text}'");
                    break;
                }
                if (text.Contains('/'))
                    problems.Add("may not contain '/'");
                if (text.Contains('%'))
                    problems.Add("may not contain '%'");
                break;
            case Format.EnvName:
                problems.Add(text.Length == 0
                    ? "environment variable name must be non-empty"
                    : "a valid environment variable name must consist only of printable ASCII characters other than '='");
                break;
            case Format.HttpHeaderName:
                problems.Add(Words("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", "X-Header-Name"));
                break;
            case Format.CIdentifier:
                problems.Add(Words("a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
                    "[A-Za-z_][A-Za-z0-9_]*", "my_name", "MY_NAME", "MyName"));
                break;
            case Format.Address:
                problems.Add(Addresses.CanonicalProblem(text));
                break;
        }
        return problems;
    }

    /// <summary>A prefix of names: the dash that the generated part will follow is not held against it.</summary>
    internal static string MaskTrailingDash(string name) => name.Length > 1 && name.EndsWith('-') ? name[..^2] + "a" : name;

    private static void AddLabelKeyProblems(List<string> problems, string key)
    {
        var parts = key.Split('/');
        if (parts.Length > 2)
        {
            problems.Add("a valid label key " + Words(KeyWords, KeyPattern, "MyName", "my.name", "123-abc") + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
            return;
        }
        if (parts.Length == 2)
        {
            if (parts[0].Length == 0)
                problems.Add("prefix part must be non-empty");
            else
                foreach (var problem in Problems(Format.Dns1123Subdomain, parts[0]))
                    problems.Add("prefix part " + problem.Replace("253 characters", "253 bytes"));
        }
        string name = parts[^1];
        if (name.Length == 0)
            problems.Add("name part must be non-empty");
        else if (Encoding.UTF8.GetByteCount(name) > LabelLength)
            problems.Add($"name part must be no more than {LabelLength} bytes");
        if (!IsKeyName(Encoding.UTF8.GetBytes(name)))
            problems.Add("name part " + Words(KeyWords, KeyPattern, "MyName", "my.name", "123-abc"));
    }

    private static bool IsLabel(ReadOnlySpan<byte> text) => !text.IsEmpty && text.IndexOfAnyExcept(s_label) < 0 && text[0] != '-' && text[^1] != '-';

    private static bool IsSubdomain(ReadOnlySpan<byte> text)
    {
        while (true)
        {
            int dot = text.IndexOf((byte)'.');
            if (!IsLabel(dot < 0 ? text : text[..dot]))
                return false;
            if (dot < 0)
                return true;
            text = text[(dot + 1)..];
        }
    }

    private static bool IsSubdomainWithUnderscore(ReadOnlySpan<byte> text)
    {
        foreach (var range in text.Split((byte)'.'))
        {
            var label = text[range];
            if (!label.IsEmpty && label[0] == '_')
                label = label[1..];
            if (label.IsEmpty || label[0] is (byte)'-' or (byte)'_' || label[^1] is (byte)'-' or (byte)'_')
                return false;
            foreach (byte value in label)
                if (value != '_' && !s_label.Contains(value))
                    return false;
        }
        return true;
    }

    private static bool IsKeyName(ReadOnlySpan<byte> text) =>
        !text.IsEmpty && text.IndexOfAnyExcept(s_key) < 0 && char.IsAsciiLetterOrDigit((char)text[0]) && char.IsAsciiLetterOrDigit((char)text[^1]);

    private static bool IsLabelKey(ReadOnlySpan<byte> text)
    {
        int slash = text.IndexOf((byte)'/');
        if (slash >= 0)
        {
            if (slash > SubdomainLength || !IsSubdomain(text[..slash]))
                return false;
            text = text[(slash + 1)..];
        }
        return text.Length <= LabelLength && IsKeyName(text);
    }

    private static string SubdomainPattern(string label) => $"{label}(\\.{label})*";

    private static void AddLength(List<string> problems, byte[] utf8, int max, string unit)
    {
        if (utf8.Length > max)
            problems.Add($"must be no more than {max} {unit}");
    }

    private static string Words(string words, string pattern, params ReadOnlySpan<string> examples)
    {
        var text = new StringBuilder(words).Append(" (e.g. ");
        for (int i = 0; i < examples.Length; i++)
            text.Append(i > 0 ? " or " : "").Append('\'').Append(examples[i]).Append("', ");
        return text.Append("regex used for validation is '").Append(pattern).Append("')").ToString();
    }
}
