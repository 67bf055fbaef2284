using System.Globalization;

namespace K3sFast.Datastore.Sql;

/// <summary>The parts of <c>scheme://user:password@hosts/path?query</c>, read as libpq and Go's drivers do: the last @ before the path ends the password.</summary>
internal sealed record DatastoreUrl(string Scheme, string User, string Password, string Hosts, string Path, IReadOnlyDictionary<string, string> Query)
{
    public static DatastoreUrl Parse(string text)
    {
        int colon = text.IndexOf("://", StringComparison.Ordinal);
        if (colon < 0) throw new FormatException("there is no scheme://");
        string rest = text[(colon + 3)..];
        var query = new Dictionary<string, string>(StringComparer.Ordinal);
        if (rest.IndexOf('?') is >= 0 and var mark)
        {
            foreach (string pair in rest[(mark + 1)..].Split('&', StringSplitOptions.RemoveEmptyEntries))
            {
                int equals = pair.IndexOf('=');
                if (equals <= 0) throw new FormatException($"\"{pair}\" behind the question mark is no name=value");
                query[Uri.UnescapeDataString(pair[..equals])] = Uri.UnescapeDataString(pair[(equals + 1)..]);
            }
            rest = rest[..mark];
        }
        int at = rest.LastIndexOf('@');
        string user = "";
        string password = "";
        if (at >= 0)
        {
            string identity = rest[..at];
            int split = identity.IndexOf(':');
            user = Uri.UnescapeDataString(split < 0 ? identity : identity[..split]);
            password = split < 0 ? "" : Uri.UnescapeDataString(identity[(split + 1)..]);
            rest = rest[(at + 1)..];
        }
        int slash = rest.IndexOf('/');
        return new DatastoreUrl(text[..colon], user, password, slash < 0 ? rest : rest[..slash], slash < 0 ? "" : Uri.UnescapeDataString(rest[slash..]), query);
    }

    /// <summary>Reads <c>host:port,[::1]:port,host</c>.</summary>
    public static IReadOnlyList<(string Host, int Port)> ParseHosts(string text, int defaultPort) => [.. text.Split(',').Select(host => ParseHost(host, defaultPort))];

    private static (string Host, int Port) ParseHost(string text, int defaultPort)
    {
        if (text.StartsWith('/')) return (text, defaultPort);
        int colon = text.LastIndexOf(':');
        string port = "";
        if (colon >= 0 && colon > text.LastIndexOf(']')) (text, port) = (text[..colon], text[(colon + 1)..]);
        int number = defaultPort;
        if (port.Length > 0 && (!int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out number) || number is < 1 or > 65535))
            throw new FormatException($"\"{port}\" is no port");
        string host = text.Trim('[', ']');
        return host.Length > 0 ? (host, number) : throw new FormatException("a host is missing");
    }
}
