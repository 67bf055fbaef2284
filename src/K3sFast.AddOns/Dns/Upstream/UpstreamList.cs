using System.Net;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// The servers of one forward plugin: those that the Corefile names, and those of the host's resolver file, which is looked at again when it
/// changes. Servers that stay keep their health and their connections.
/// </summary>
internal sealed class UpstreamList(IReadOnlyList<Upstream> named, IReadOnlyList<ResolvConf> files, Func<IPEndPoint, Upstream> make) : IDisposable
{
    private readonly Lock _gate = new();
    private readonly Dictionary<IPEndPoint, Upstream> _made = [];
    private IPEndPoint[][] _seen = [];
    private volatile Upstream[] _current = [];

    /// <summary>The servers now, in the Corefile's order.</summary>
    internal Upstream[] Current
    {
        get
        {
            IPEndPoint[][] servers = [.. files.Select(static file => file.Servers)];
            // Arrays are replaced, never changed.
            if (_current.Length > 0 && servers.AsSpan().SequenceEqual(_seen)) return _current;
            lock (_gate)
            {
                foreach (var server in servers.SelectMany(static list => list))
                {
                    if (!_made.ContainsKey(server)) _made[server] = make(server);
                }
                _seen = servers;
                _current = [.. named, .. servers.SelectMany(static list => list).Select(server => _made[server])];
                return _current;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var upstream in named) upstream.Dispose();
        lock (_gate)
        {
            foreach (var upstream in _made.Values) upstream.Dispose();
        }
    }
}
