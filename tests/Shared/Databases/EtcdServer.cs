using K3sFast.Tests.Ports;

namespace K3sFast.Tests.Databases;

/// <summary>Members of an etcd cluster on loopback ports, each a process of its own.</summary>
public sealed class EtcdServer : DatabaseProcess
{
    private static readonly string? s_program = Find("/usr/bin/etcd", "/usr/local/bin/etcd");
    private readonly string _name;
    private readonly string _cluster;
    private readonly int _peerPort;
    private readonly string _tls;

    private EtcdServer(string name, LoopbackPort port, LoopbackPort peerPort, string cluster, string tls, DatabasePlace? place)
        : base("etcd", place, port, peerPort)
    {
        (_name, _peerPort, _cluster, _tls) = (name, peerPort.Number, cluster, tls);
    }

    /// <summary>Why there is none here, or null.</summary>
    public static string? SkipReason => s_program is null ? "etcd is not installed (apt: etcd-server)" : null;

    public string Url => $"{(_tls.Length > 0 ? "https" : "http")}://127.0.0.1:{Port}";

    /// <summary>A running cluster. <paramref name="tls"/> = etcd's flags that secure the clients' side.</summary>
    public static async Task<EtcdServer[]> StartClusterAsync(int members, string tls = "", DatabasePlace? place = null)
    {
        var ports = Enumerable.Range(0, members * 2).Select(static _ => new LoopbackPort()).ToArray();
        string cluster = string.Join(',', Enumerable.Range(0, members).Select(i => $"m{i}=http://127.0.0.1:{ports[members + i].Number}"));
        var all = Enumerable.Range(0, members).Select(i => new EtcdServer($"m{i}", ports[i], ports[members + i], cluster, tls, place)).ToArray();
        await Task.WhenAll(all.Select(member => member.StartAsync()));
        return all;
    }

    protected override string CommandLine() =>
        $"{s_program} --name {_name} --data-dir {Folder}/data --listen-client-urls {Url} --advertise-client-urls {Url} "
        + $"--listen-peer-urls http://127.0.0.1:{_peerPort} --initial-advertise-peer-urls http://127.0.0.1:{_peerPort} "
        + $"--initial-cluster {_cluster} --initial-cluster-state new --logger zap --log-level warn {_tls}";

    // The port opens when the member has joined.
    protected override Task<bool> AnswersAsync() => CanConnectAsync(Port);
}
