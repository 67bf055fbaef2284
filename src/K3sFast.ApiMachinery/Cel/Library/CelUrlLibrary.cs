using System.Text;
using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>URLs: absolute ones and absolute paths, cut as Go's net/url cuts them.</summary>
internal static class CelUrlLibrary
{
    internal static readonly CelType Type = CelType.Extension("kubernetes.URL");

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("url", Global("string_to_url", [CelType.String], Type, static args => Parse(args[0].AsString))),
        Function("isURL", Global("is_url_string", [CelType.String], CelType.Bool, static args => CelValue.Of(!Parse(args[0].AsString).IsError))),
        Get("getScheme", "url_get_scheme", static url => url.Scheme),
        Get("getHost", "url_get_host", static url => url.Host),
        Get("getHostname", "url_get_hostname", static url => url.Hostname),
        Get("getPort", "url_get_port", static url => url.Port),
        Get("getEscapedPath", "url_get_escaped_path", static url => url.EscapedPath),
        Function("getQuery", Member("url_get_query", [Type], CelType.Map(CelType.String, CelType.List(CelType.String)), static args => ((CelUrl)args[0].Reference!).Query())),
    ];

    private static CelFunction Get(string name, string id, Func<CelUrl, string> part) =>
        Function(name, Member(id, [Type], CelType.String, args => CelValue.Of(part((CelUrl)args[0].Reference!))));

    /// <summary>What Go's ParseRequestURI says against the text; null when it is a URI.</summary>
    internal static string? Problem(string text) => CelUrl.TryParse(text, out _, out string problem) ? null : $"parse {GoText.Quote(text)}: {problem}";

    private static CelValue Parse(string text) => CelUrl.TryParse(text, out var url, out string problem)
        ? CelValue.Struct(url!) : CelValue.Error($"URL parse error during conversion from string: parse {GoText.Quote(text)}: {problem}");
}

/// <summary>A URL in its parts.</summary>
internal sealed class CelUrl : ICelObject
{
    private string _text = "";
    private string _query = "";

    public string TypeName => "kubernetes.URL";

    internal string Scheme { get; private set; } = "";

    internal string Host { get; private set; } = "";

    internal string EscapedPath { get; private set; } = "";

    internal string Port
    {
        get
        {
            int colon = Host.LastIndexOf(':');
            return colon < 0 || Host.IndexOf(']', colon) >= 0 ? "" : Host[(colon + 1)..];
        }
    }

    internal string Hostname
    {
        get
        {
            string host = Port.Length > 0 ? Host[..^(Port.Length + 1)] : Host.EndsWith(':') ? Host[..^1] : Host;
            return host.StartsWith('[') && host.EndsWith(']') ? host[1..^1] : host;
        }
    }

    internal static bool TryParse(string text, out CelUrl? url, out string problem)
    {
        url = new CelUrl();
        problem = "";
        if (text.Length == 0)
            problem = "empty url";
        else if (text.AsSpan().IndexOfAnyInRange('\0', '\x1f') >= 0 || text.Contains('\x7f'))
            problem = "net/url: invalid control character in URL";
        else
            problem = url.Read(text) ?? "";
        return problem.Length == 0;
    }

    private string? Read(string text)
    {
        _text = text;
        // url.Parse, which keeps the parts, cuts the fragment off; the check before it does not.
        int fragment = text.IndexOf('#', StringComparison.Ordinal);
        string rest = fragment < 0 ? text : text[..fragment];
        int scheme = SchemeLength(rest);
        if (scheme < 0)
            return "missing protocol scheme";
        if (scheme > 0)
            (Scheme, rest) = (rest[..scheme].ToLowerInvariant(), rest[(scheme + 1)..]);
        int query = rest.IndexOf('?', StringComparison.Ordinal);
        if (query >= 0)
            (rest, _query) = (rest[..query], rest[(query + 1)..]);
        if (!rest.StartsWith('/'))
            return Scheme.Length > 0 ? null : "invalid URI for request";
        if (rest.StartsWith("//", StringComparison.Ordinal) && (Scheme.Length > 0 || !rest.StartsWith("///", StringComparison.Ordinal)))
        {
            int slash = rest.IndexOf('/', 2);
            string authority = slash < 0 ? rest[2..] : rest[2..slash];
            rest = slash < 0 ? "" : rest[slash..];
            Host = authority[(authority.LastIndexOf('@') + 1)..];
            if (HostProblem(Host) is { } problem)
                return problem;
        }
        if (EscapeProblem(rest) is { } escape)
            return escape;
        EscapedPath = Escaped(rest);
        return null;
    }

    private static int SchemeLength(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            char unit = text[i];
            if (char.IsAsciiLetter(unit) || i > 0 && (char.IsAsciiDigit(unit) || unit is '+' or '-' or '.'))
                continue;
            return unit != ':' ? 0 : i == 0 ? -1 : i;
        }
        return 0;
    }

    private static string? HostProblem(string host)
    {
        if (host.StartsWith('['))
        {
            int end = host.LastIndexOf(']');
            if (end < 0)
                return "missing ']' in host";
            string port = host[(end + 1)..];
            return port.Length == 0 || port[0] == ':' && port.AsSpan(1).IndexOfAnyExceptInRange('0', '9') < 0 ? null : $"invalid port {GoText.Quote(port)} after host";
        }
        int colon = host.LastIndexOf(':');
        if (colon >= 0 && host.AsSpan(colon + 1).IndexOfAnyExceptInRange('0', '9') >= 0)
            return $"invalid port {GoText.Quote(host.AsSpan(colon))} after host";
        int bad = host.AsSpan().IndexOfAny(" \"<>\\^`{}|");
        return bad >= 0 ? $"invalid character {GoText.Quote(host.AsSpan(bad, 1))} in host name" : EscapeProblem(host);
    }

    private static string? EscapeProblem(string text)
    {
        for (int i = text.IndexOf('%', StringComparison.Ordinal); i >= 0; i = text.IndexOf('%', i + 1))
        {
            if (i + 2 >= text.Length || !char.IsAsciiHexDigit(text[i + 1]) || !char.IsAsciiHexDigit(text[i + 2]))
                return $"invalid URL escape {GoText.Quote(text.AsSpan(i, Math.Min(3, text.Length - i)))}";
        }
        return null;
    }

    private static string Escaped(string path)
    {
        var text = new StringBuilder();
        foreach (byte unit in Encoding.UTF8.GetBytes(path))
        {
            if (char.IsAsciiLetterOrDigit((char)unit) || "-_.~$&+,/:;=@!'()*[]%".Contains((char)unit))
                text.Append((char)unit);
            else
                text.Append(System.Globalization.CultureInfo.InvariantCulture, $"%{unit:X2}");
        }
        return text.ToString();
    }

    internal CelValue Query()
    {
        var map = new Dictionary<string, List<string>>();
        foreach (string pair in _query.Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            if (pair.Contains(';'))
                continue;
            int equals = pair.IndexOf('=', StringComparison.Ordinal);
            string key = Decoded(equals < 0 ? pair : pair[..equals]);
            if (!map.TryGetValue(key, out var values))
                map[key] = values = [];
            values.Add(Decoded(equals < 0 ? "" : pair[(equals + 1)..]));
        }
        var result = new CelValueMap();
        foreach (var (key, values) in map)
            result.TryAdd(CelValue.Of(key), CelValue.Of(values));
        return CelValue.Of(result);
    }

    private static string Decoded(string text) => Uri.UnescapeDataString(text.Replace('+', ' '));

    public CelValue EqualTo(CelValue other) => other.Reference is CelUrl url ? CelValue.Of(url._text == _text) : CelValue.NoSuchOverload;

    public override string ToString() => _text;
}
