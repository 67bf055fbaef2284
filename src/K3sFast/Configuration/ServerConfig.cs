using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace K3sFast.Configuration;

/// <summary>What <c>k3sfast server</c> was told to be, checked and typed. Immutable; made once at start.</summary>
internal sealed class ServerConfig
{
    private ServerConfig(FlagValues flags)
    {
        Warnings = [.. flags.Warnings];
        KubeletArgs = new("kubelet-arg", flags.Many("kubelet-arg"));
        ApiServerArgs = new("kube-apiserver-arg", flags.Many("kube-apiserver-arg"));
        ControllerArgs = new("kube-controller-manager-arg", flags.Many("kube-controller-manager-arg"));
        SchedulerArgs = new("kube-scheduler-arg", flags.Many("kube-scheduler-arg"));
        ProxyArgs = new("kube-proxy-arg", flags.Many("kube-proxy-arg"));

        Paths = new(flags.Text("data-dir"), NullIfEmpty(flags.Text("run-dir")),
            KubeletArgs.Text("root-dir", "/var/lib/kubelet"), KubeletArgs.Text("pod-logs-dir", "/var/log/pods"));

        NodeName = NameOfNode(flags);
        NodeIPs = Addresses(flags, "node-ip");
        if (NodeIPs.Count == 0)
        {
            NodeIPs = [NodeAddresses.Detect() ?? throw new ConfigurationException(
                "no address found for this node: there is no default route and no interface with an IPv4 address; give --node-ip")];
        }
        NodeExternalIPs = Addresses(flags, "node-external-ip");
        NodeLabels = Labels(flags);
        NodeTaints = flags.Many("node-taint");

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
        Token = TokenText(flags);
        DatastorePath = SqlitePath(flags.Text("datastore-endpoint"), Paths);

        Disabled = [.. flags.Many("disable")];
        HasScheduler = !flags.IsOn("disable-scheduler");
        HasControllers = !flags.IsOn("disable-controller-manager");
        HasProxy = !flags.IsOn("disable-kube-proxy");
        HasAgent = !flags.IsOn("disable-agent");
        HasDns = !Disabled.Contains("coredns");

        ResolvConf = flags.Text("resolv-conf");
        PauseImage = flags.Text("pause-image");
        Snapshotter = flags.Text("snapshotter");
        DefaultRuntime = flags.Text("default-runtime");
        NonRootDevices = flags.IsOn("nonroot-devices");
        RuntimeEndpoint = flags.Text("container-runtime-endpoint");
    }

    public List<string> Warnings { get; }
    public NodePaths Paths { get; }
    public ComponentArguments KubeletArgs { get; }
    public ComponentArguments ApiServerArgs { get; }
    public ComponentArguments ControllerArgs { get; }
    public ComponentArguments SchedulerArgs { get; }
    public ComponentArguments ProxyArgs { get; }

    public string NodeName { get; }
    /// <summary>At least one; the first is the node's primary address.</summary>
    public List<IPAddress> NodeIPs { get; }
    public List<IPAddress> NodeExternalIPs { get; }
    public List<KeyValuePair<string, string>> NodeLabels { get; }
    /// <summary>As written: <c>key=value:Effect</c>.</summary>
    public List<string> NodeTaints { get; }

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
    /// <summary>Token from flag, file or environment; empty when one is to be made.</summary>
    public string Token { get; }
    public string DatastorePath { get; }

    public HashSet<string> Disabled { get; }
    public bool HasScheduler { get; }
    public bool HasControllers { get; }
    public bool HasProxy { get; }
    public bool HasAgent { get; }
    public bool HasDns { get; }

    /// <summary>Empty: the host's own.</summary>
    public string ResolvConf { get; }
    /// <summary>Empty: the built-in image.</summary>
    public string PauseImage { get; }
    public string Snapshotter { get; }
    public string DefaultRuntime { get; }
    public bool NonRootDevices { get; }
    /// <summary>Path of a foreign CRI socket; empty when we run containerd ourselves.</summary>
    public string RuntimeEndpoint { get; }

    /// <summary>First address of the service network: the <c>kubernetes</c> Service.</summary>
    public IPAddress ApiServiceAddress => Nth(ServiceCidrs[0], 1);

    /// <exception cref="ConfigurationException">A value is malformed or contradicts another.</exception>
    public static ServerConfig From(FlagValues flags) => new(flags);

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

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;

    private static string NameOfNode(FlagValues flags)
    {
        var name = (flags.Text("node-name") is { Length: > 0 } given ? given : Environment.MachineName).ToLowerInvariant();
        if (flags.IsOn("with-node-id"))
            name += "-" + NodeId();
        // RFC 1123 subdomain, which is what metadata.name of a Node must be.
        var isValid = name.Length is > 0 and <= 253 && name.AsSpan().IndexOfAnyExcept("abcdefghijklmnopqrstuvwxyz0123456789-.") < 0
            && char.IsLetterOrDigit(name[0]) && char.IsLetterOrDigit(name[^1]);
        return isValid ? name : throw new ConfigurationException($"node name \"{name}\" is not a valid RFC 1123 subdomain; give --node-name");
    }

    private static string NodeId()
    {
        const string Path = "/etc/rancher/node/id";
        if (File.Exists(Path) && File.ReadAllText(Path).Trim() is { Length: > 0 } id)
            return id;
        id = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4));
        Directory.CreateDirectory("/etc/rancher/node");
        File.WriteAllText(Path, id + "\n");
        return id;
    }

    private static IPAddress Address(string text, string flag) =>
        IPAddress.TryParse(text, out var address) ? address : throw new ConfigurationException($"invalid IP address \"{text}\" in --{flag}");

    private static List<IPAddress> Addresses(FlagValues flags, string flag) => flags.Many(flag).ConvertAll(text => Address(text, flag));

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

    private static List<KeyValuePair<string, string>> Labels(FlagValues flags) => flags.Many("node-label").ConvertAll(static text =>
    {
        var equals = text.IndexOf('=');
        return equals > 0
            ? KeyValuePair.Create(text[..equals], text[(equals + 1)..])
            : throw new ConfigurationException($"invalid node label \"{text}\": must be key=value");
    });

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

    private static string TokenText(FlagValues flags)
    {
        var file = flags.Text("token-file");
        if (flags.Text("token") is { Length: > 0 } token || file.Length == 0)
            return flags.Text("token").Trim();
        try
        {
            return File.ReadAllText(file).Trim() is { Length: > 0 } text ? text : throw new ConfigurationException($"token file {file} is empty");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"failed to read token file {file}: {e.Message}", e);
        }
    }

    private static string SqlitePath(string endpoint, NodePaths paths)
    {
        const string Scheme = "sqlite://";
        if (endpoint.Length == 0 || endpoint == "sqlite")
            return Path.Combine(paths.Database, "state.db");
        if (!endpoint.StartsWith(Scheme, StringComparison.Ordinal))
            throw new ConfigurationException("--datastore-endpoint: only sqlite:// is in this version of k3sfast; etcd, MySQL and PostgreSQL come later");
        var path = endpoint[Scheme.Length..];
        if (path.IndexOf('?') is >= 0 and var query)
            path = path[..query];
        return path.Length == 0 ? Path.Combine(paths.Database, "state.db") : Path.GetFullPath(path, paths.ServerDir);
    }
}
