using System.Net;

namespace K3sFast.AddOns.Dns;

/// <summary>The host's resolvers, read from resolv.conf (resolv.conf(5)) and read again when the file changes.</summary>
internal sealed class ResolvConf(string path)
{
    // glibc uses three name servers; more are ignored.
    private const int MaxServers = 3;

    private DateTime _readAt;
    private IPEndPoint[] _servers = [];
    private byte[][] _search = [];

    /// <summary>Name servers that are asked whatever the file says (tests ask on other ports than 53).</summary>
    internal IPEndPoint[]? Fixed { get; init; }

    /// <summary>Name servers in the file's order; empty where the file is missing or names none.</summary>
    internal IPEndPoint[] Servers
    {
        get
        {
            if (Fixed is not null) return Fixed;
            // One stat per forwarded miss: cheap beside the question itself, and no watcher has to live.
            var changedAt = File.GetLastWriteTimeUtc(path);
            if (changedAt == _readAt) return _servers;
            (_servers, _search) = Read();
            _readAt = changedAt;
            return _servers;
        }
    }

    /// <summary>The domains that the host's own questions are completed with, wire form.</summary>
    internal byte[][] Search => Servers is null ? [] : _search;

    private (IPEndPoint[] Servers, byte[][] Search) Read()
    {
        try
        {
            var lines = File.ReadAllLines(path);
            return (Parse(lines), ParseSearch(lines));
        }
        catch (Exception unreadable) when (unreadable is IOException or UnauthorizedAccessException)
        {
            return ([], []);
        }
    }

    // The last of "search" and "domain" counts.
    private static byte[][] ParseSearch(IEnumerable<string> lines)
    {
        var last = lines.Select(static line => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)).LastOrDefault(static words => words is ["search" or "domain", ..]);
        return last is null ? [] : [.. last.Skip(1).Select(WireName.Encode).OfType<byte[]>()];
    }

    /// <summary>The <c>nameserver</c> lines that hold an address.</summary>
    internal static IPEndPoint[] Parse(IEnumerable<string> lines)
    {
        var servers = new List<IPEndPoint>();
        foreach (var line in lines)
        {
            var words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 2 && words[0] == "nameserver" && IPAddress.TryParse(words[1], out var address) && servers.Count < MaxServers)
            {
                servers.Add(new IPEndPoint(address, 53));
            }
        }
        return [.. servers];
    }
}
