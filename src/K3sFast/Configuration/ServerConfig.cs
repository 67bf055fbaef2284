using K3sFast.Datastore;
using System.Net;
using System.Net.Sockets;

namespace K3sFast.Configuration;

/// <summary>What <c>k3sfast server</c> was told to be, checked and typed. Immutable; made once at start.</summary>
internal sealed class ServerConfig : NodeConfig
{
    private ServerConfig(FlagValues flags) : base(flags)
    {
        ApiServerArgs = new("kube-apiserver-arg", flags.Many("kube-apiserver-arg"));
        ControllerArgs = new("kube-controller-manager-arg", flags.Many("kube-controller-manager-arg"));
        SchedulerArgs = new("kube-scheduler-arg", flags.Many("kube-scheduler-arg"));

        BindAddress = Address(flags.Text("bind-address"), "bind-address");
        HttpsPort = flags.Number("https-listen-port", 1, 65535);
        AdvertiseAddress = flags.Text("advertise-address") is { Length: > 0 } advertised
            ? Address(advertised, "advertise-address")
            : NodeExternalIPs.Count > 0 ? NodeExternalIPs[0] : NodeIPs[0];
        AdvertisePort = flags.IsSet("advertise-port") ? flags.Number("advertise-port", 1, 65535) : HttpsPort;
        TlsSans = flags.Many("tls-san");

        ClusterCidrs = Networks(flags, "cluster-cidr");
        ServiceCidrs = Networks(flags, "service-cidr");
        ClusterDns = Addresses(flags, "cluster-dns");
        if (ClusterDns.Count == 0)
            ClusterDns = [Nth(ServiceCidrs[0], 10)];
        ClusterDomain = flags.Text("cluster-domain").TrimEnd('.');
        (NodePortFirst, NodePortLast) = PortRange(flags.Text("service-node-port-range"));

        KubeconfigPath = flags.Text("write-kubeconfig");
        KubeconfigMode = FileMode(flags.Text("write-kubeconfig-mode"));
        KubeconfigGroup = flags.Text("write-kubeconfig-group");
        AgentToken = TokenText(flags, "agent-token", "agent-token-file");
        Datastore = Endpoint(flags, Paths);

        Disabled = [.. flags.Many("disable")];
        HasScheduler = !flags.IsOn("disable-scheduler");
        HasControllers = !flags.IsOn("disable-controller-manager");
        HasProxy = !flags.IsOn("disable-kube-proxy");
        HasAgent = !flags.IsOn("disable-agent");
        HasDns = !Disabled.Contains("coredns");
        HasNetworkPolicy = !flags.IsOn("disable-network-policy");
        FlannelBackend = flags.IsOn("no-flannel") ? "none" : Backend(flags.Text("flannel-backend"));
        FlannelIPv6Masq = flags.IsOn("flannel-ipv6-masq");
        FlannelExternalIP = flags.IsOn("flannel-external-ip");
        if (FlannelExternalIP && NodeExternalIPs.Count == 0 && HasAgent)
            Warnings.Add("--flannel-external-ip is set but this node has no --node-external-ip: its node-ip is used");
    }

    public ComponentArguments ApiServerArgs { get; }
    public ComponentArguments ControllerArgs { get; }
    public ComponentArguments SchedulerArgs { get; }

    public IPAddress BindAddress { get; }
    public int HttpsPort { get; }
    public IPAddress AdvertiseAddress { get; }
    public int AdvertisePort { get; }
    public List<string> TlsSans { get; }

    public List<IPNetwork> ClusterCidrs { get; }
    public List<IPNetwork> ServiceCidrs { get; }
    public List<IPAddress> ClusterDns { get; }
    public string ClusterDomain { get; }
    public int NodePortFirst { get; }
    public int NodePortLast { get; }

    public string KubeconfigPath { get; }
    public UnixFileMode KubeconfigMode { get; }
    /// <summary>Group name or number, empty for none.</summary>
    public string KubeconfigGroup { get; }
    /// <summary>The secret that agents alone join with; empty: the same as servers'.</summary>
    public string AgentToken { get; }
    public DatastoreEndpoint Datastore { get; }

    public HashSet<string> Disabled { get; }
    public bool HasScheduler { get; }
    public bool HasControllers { get; }
    public bool HasProxy { get; }
    public bool HasAgent { get; }
    public bool HasDns { get; }

    public bool HasNetworkPolicy { get; }
    public string FlannelBackend { get; }
    public bool FlannelIPv6Masq { get; }
    public bool FlannelExternalIP { get; }

    /// <summary>First address of the service network: the <c>kubernetes</c> Service.</summary>
    public IPAddress ApiServiceAddress => Nth(ServiceCidrs[0], 1);

    /// <exception cref="ConfigurationException">A value is malformed or contradicts another.</exception>
    public static new ServerConfig From(FlagValues flags) => new(flags);

    /// <summary>The network's base address plus <paramref name="offset"/>.</summary>
    public static IPAddress Nth(IPNetwork network, int offset)
    {
        Span<byte> bytes = stackalloc byte[16];
        network.BaseAddress.TryWriteBytes(bytes, out var length);
        for (var i = length - 1; i >= 0 && offset > 0; i--)
        {
            offset += bytes[i];
            bytes[i] = (byte)offset;
            offset >>= 8;
        }
        return new IPAddress(bytes[..length]);
    }

    private static List<IPNetwork> Networks(FlagValues flags, string flag)
    {
        var networks = flags.Many(flag).ConvertAll(text => IPNetwork.TryParse(text, out var network)
            ? network
            : throw new ConfigurationException($"invalid CIDR \"{text}\" in --{flag}"));
        if (networks.Count is 0 or > 2 || (networks.Count == 2 && networks[0].BaseAddress.AddressFamily == networks[1].BaseAddress.AddressFamily))
            throw new ConfigurationException($"--{flag} takes one network, or one IPv4 and one IPv6 network");
        if (networks[0].BaseAddress.AddressFamily != AddressFamily.InterNetwork)
            throw new ConfigurationException($"--{flag}: an IPv6 network as the first one is not in this version of k3sfast");
        return networks;
    }

    private static (int First, int Last) PortRange(string text)
    {
        var dash = text.IndexOf('-');
        if (dash > 0 && int.TryParse(text.AsSpan(0, dash), out var first) && int.TryParse(text.AsSpan(dash + 1), out var last)
            && first >= 1 && last <= 65535 && first <= last)
            return (first, last);
        throw new ConfigurationException($"invalid port range \"{text}\" in --service-node-port-range");
    }

    private static UnixFileMode FileMode(string octal)
    {
        try
        {
            var mode = Convert.ToInt32(octal, 8);
            return mode is >= 0 and <= 0x1FF ? (UnixFileMode)mode : throw new FormatException();
        }
        catch (Exception e) when (e is FormatException or OverflowException or ArgumentException)
        {
            throw new ConfigurationException($"invalid mode \"{octal}\" in --write-kubeconfig-mode", e);
        }
    }

    private static string Backend(string name) => name switch
    {
        "none" or "vxlan" or "host-gw" or "wireguard-native" => name,
        _ => throw new ConfigurationException($"unknown flannel-backend \"{name}\": must be one of none, vxlan, host-gw, wireguard-native"),
    };

    private static DatastoreEndpoint Endpoint(FlagValues flags, NodePaths paths)
    {
        try
        {
            var tls = new DatastoreTls(flags.Text("datastore-cafile"), flags.Text("datastore-certfile"), flags.Text("datastore-keyfile"));
            return DatastoreEndpoint.Parse(flags.Text("datastore-endpoint"), tls, Path.Combine(paths.Database, "state.db"), paths.ServerDir);
        }
        catch (FormatException e)
        {
            throw new ConfigurationException($"--datastore-endpoint: {e.Message}", e);
        }
    }
}
