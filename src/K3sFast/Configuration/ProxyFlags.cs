using System.Collections.Frozen;
using System.Globalization;
using System.Net;
using K3sFast.Network.Proxy;
using K3sFast.Server;

namespace K3sFast.Configuration;

/// <summary>
/// Every flag of kube-proxy 1.36 with its fate in --kube-proxy-arg, and what those that do something ask of the proxy. A flag that is not here is none of
/// its flags, and is refused as there.
/// </summary>
internal static class ProxyFlags
{
    private const string ExternalIPsGate = "AllowServiceExternalIPs";

    private static readonly string[] s_honoured =
    [
        "bind-address-hard-fail", "cluster-cidr", "conntrack-max-per-core", "conntrack-min", "conntrack-tcp-be-liberal", "conntrack-tcp-timeout-close-wait",
        "conntrack-tcp-timeout-established", "conntrack-udp-timeout", "conntrack-udp-timeout-stream", "detect-local-mode", "feature-gates", "healthz-bind-address", "healthz-port",
        "iptables-localhost-nodeports", "iptables-masquerade-bit", "iptables-min-sync-period", "iptables-sync-period", "ipvs-exclude-cidrs", "ipvs-min-sync-period", "ipvs-scheduler",
        "ipvs-strict-arp", "ipvs-sync-period", "ipvs-tcp-timeout", "ipvs-tcpfin-timeout", "ipvs-udp-timeout", "masquerade-all", "metrics-bind-address", "metrics-port",
        "nodeport-addresses", "pod-bridge-interface", "pod-interface-name-prefix", "proxy-mode",
    ];

    private static readonly (FlagFate Fate, string Why, string[] Names)[] s_others =
    [
        (FlagFate.Refused, "give the flags themselves", ["config"]),
        (FlagFate.Refused, "the proxy is part of the node: see k3sfast cleanup", ["cleanup", "init-only", "write-config-to"]),
        (FlagFate.Refused, "the node's name is that of --node-name", ["hostname-override"]),
        (FlagFate.Warned, "the node's addresses are those of --node-ip", ["bind-address"]),
        (FlagFate.Warned, "k3s sets it from its own flags", ["kubeconfig", "master"]),
        (FlagFate.Warned, "the proxy watches in the form and at the pace of its server", ["kube-api-burst", "kube-api-content-type", "kube-api-qps", "config-sync-period"]),
        (FlagFate.Warned, "the whole node is one process", ["oom-score-adj"]),
        (FlagFate.Warned, "profiles are not served", ["profiling"]),
        (FlagFate.Warned, "all metrics are told", ["show-hidden-metrics-for-version"]),
        (FlagFate.Warned, "the log is k3sfast's own: see --log, --debug and -v",
            ["log-flush-frequency", "log-json-info-buffer-size", "log-json-split-stream", "log-text-info-buffer-size", "log-text-split-stream", "logging-format", "v", "vmodule"]),
    ];

    private static readonly FrozenDictionary<string, (FlagFate Fate, string Why)> s_all = Table().ToFrozenDictionary(static row => row.Name, static row => (row.Fate, row.Why));

    /// <summary>All flags, for tests and for who wants to know.</summary>
    public static IEnumerable<(string Name, FlagFate Fate, string Why)> All => s_all.Select(static row => (row.Key, row.Value.Fate, row.Value.Why));

    /// <summary>What the flags ask of the proxy; what has no effect is told in <paramref name="warnings"/>.</summary>
    /// <exception cref="ConfigurationException">A flag is unknown, malformed, or refused; the message says why.</exception>
    public static ProxyOptions Read(ComponentArguments arguments, List<string> warnings)
    {
        Check(arguments, warnings);
        var isExplicit = arguments.Has("proxy-mode");
        var modeText = arguments.Text("proxy-mode", "iptables");
        var mode = modeText switch
        {
            "iptables" or "nftables" => ProxyMode.Nftables,
            "ipvs" => ProxyMode.Ipvs,
            "ebpf" => ProxyMode.Ebpf,
            "userspace" => ProxyMode.Userspace,
            _ => throw new ConfigurationException($"invalid value \"{modeText}\" for proxy-mode in --kube-proxy-arg: must be iptables, nftables, ipvs, ebpf or userspace"),
        };
        if (isExplicit && modeText == "iptables")
            warnings.Add("proxy-mode=iptables is served by nf_tables: the same Services, no iptables rules and no metrics that count them (failures are counted under both names)");

        if (mode == ProxyMode.Ebpf && arguments.Switch("masquerade-all", false))
            warnings.Add("masquerade-all has no effect on connections of pods and of the node themselves in proxy-mode=ebpf: they go to the endpoint from the start");

        // kube-proxy's nftables mode knows no node ports on the loopback, and answers on the node's own addresses unless told otherwise.
        var isUpstreamNftables = modeText == "nftables";
        var nodePorts = arguments.Many("nodeport-addresses");
        var isPrimary = nodePorts is ["primary"] || (nodePorts.Count == 0 && isUpstreamNftables);
        var isIpvs = mode == ProxyMode.Ipvs;
        return new ProxyOptions
        {
            Mode = mode,
            // kube-proxy's ipvs mode counts them too.
            HasIptablesMetrics = modeText is "iptables" or "ipvs",
            IsNodePortPrimaryOnly = isPrimary,
            NodePortNetworks = isPrimary ? [] : nodePorts.ConvertAll(static text => Network(text, "nodeport-addresses")),
            HasLocalhostNodePorts = arguments.Switch("iptables-localhost-nodeports", true) && !isUpstreamNftables && !isIpvs
                && (nodePorts.Count == 0 || (!isPrimary && nodePorts.Exists(static text => Network(text, "nodeport-addresses").Contains(IPAddress.Loopback)))),
            LocalDetection = Detection(arguments),
            ClusterCidrs = arguments.Has("cluster-cidr") ? arguments.Many("cluster-cidr").ConvertAll(static text => Network(text, "cluster-cidr")) : null,
            Interface = Link(arguments),
            IsMasqueradeAll = arguments.Switch("masquerade-all", false),
            MasqueradeBit = arguments.Number("iptables-masquerade-bit", 14, 0, 31),
            AllowsExternalIPs = Gates(arguments, warnings),
            SyncPeriod = Period(arguments, isIpvs ? "ipvs-sync-period" : "iptables-sync-period"),
            MinSyncPeriod = arguments.Duration(isIpvs ? "ipvs-min-sync-period" : "iptables-min-sync-period", TimeSpan.Zero),
            HealthAddress = Endpoint(arguments, "healthz-bind-address", "healthz-port", 10256),
            MetricsAddress = Endpoint(arguments, "metrics-bind-address", "metrics-port", 10249),
            IsBindFailureFatal = arguments.Switch("bind-address-hard-fail", false),
            ConntrackSettings = Conntrack(arguments),
            Ipvs = new IpvsOptions
            {
                Scheduler = arguments.Text("ipvs-scheduler", "rr"),
                ExcludedNetworks = arguments.Many("ipvs-exclude-cidrs").ConvertAll(static text => Network(text, "ipvs-exclude-cidrs")),
                IsStrictArp = arguments.Switch("ipvs-strict-arp", false),
                Timeouts = (arguments.Duration("ipvs-tcp-timeout", TimeSpan.Zero), arguments.Duration("ipvs-tcpfin-timeout", TimeSpan.Zero), arguments.Duration("ipvs-udp-timeout", TimeSpan.Zero)),
            },
        };
    }

    private static void Check(ComponentArguments arguments, List<string> warnings)
    {
        foreach (var name in arguments.Names)
        {
            if (!s_all.TryGetValue(name, out var flag))
                throw new ConfigurationException($"unknown flag: --{name} in --kube-proxy-arg");
            var value = arguments.Text(name);
            if (flag.Fate == FlagFate.Honoured || (name, value) is ("profiling" or "cleanup" or "init-only", "false") or ("logging-format", "text"))
                continue;
            if (flag.Fate == FlagFate.Refused)
                throw new ConfigurationException($"--kube-proxy-arg={name}={value} is not served: {flag.Why}");
            warnings.Add($"flag --kube-proxy-arg={name} has no effect: {flag.Why}");
        }
    }

    private static LocalDetection Detection(ComponentArguments arguments) => arguments.Text("detect-local-mode", "ClusterCIDR") switch
    {
        "ClusterCIDR" => LocalDetection.ClusterCidr,
        "NodeCIDR" => LocalDetection.NodeCidr,
        "BridgeInterface" => LocalDetection.BridgeInterface,
        "InterfaceNamePrefix" => LocalDetection.InterfaceNamePrefix,
        var other => throw new ConfigurationException(
            $"invalid value \"{other}\" for detect-local-mode in --kube-proxy-arg: must be ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix"),
    };

    private static string Link(ComponentArguments arguments)
    {
        var flag = Detection(arguments) switch
        {
            LocalDetection.BridgeInterface => "pod-bridge-interface",
            LocalDetection.InterfaceNamePrefix => "pod-interface-name-prefix",
            _ => "",
        };
        if (flag.Length == 0)
            return "";
        // IFNAMSIZ of linux/if.h, with its end.
        return arguments.Text(flag) is { Length: > 0 and < 16 } name
            ? name
            : throw new ConfigurationException($"detect-local-mode={arguments.Text("detect-local-mode")} in --kube-proxy-arg asks for {flag}, of at most 15 characters");
    }

    private static TimeSpan Period(ComponentArguments arguments, string name)
    {
        var period = arguments.Duration(name, TimeSpan.FromSeconds(30));
        return period > TimeSpan.Zero ? period : throw new ConfigurationException($"invalid value \"{arguments.Text(name)}\" for {name} in --kube-proxy-arg: must be greater than 0");
    }

    // k3s: the loopback. A port of 0, or an address of "", is nowhere.
    private static IPEndPoint? Endpoint(ComponentArguments arguments, string name, string portName, int port)
    {
        var chosen = arguments.Number(portName, port, 0, 65535);
        if (!arguments.Has(name))
            return chosen == 0 ? null : new IPEndPoint(IPAddress.Loopback, chosen);
        var text = arguments.Text(name);
        if (text.Length == 0)
            return null;
        if (IPAddress.TryParse(text, out var alone))
            return chosen == 0 ? null : new IPEndPoint(alone, chosen);
        return IPEndPoint.TryParse(text, out var endpoint) ? endpoint : throw new ConfigurationException($"invalid value \"{text}\" for {name} in --kube-proxy-arg: must be IP:port");
    }

    private static bool Gates(ComponentArguments arguments, List<string> warnings)
    {
        var isAllowed = false;
        foreach (var gate in arguments.Many("feature-gates"))
        {
            var equals = gate.IndexOf('=', StringComparison.Ordinal);
            if (equals < 0 || !bool.TryParse(gate.AsSpan(equals + 1), out var isOn))
                throw new ConfigurationException($"invalid value \"{gate}\" for feature-gates in --kube-proxy-arg: must be Name=true or Name=false");
            if (gate.AsSpan(0, equals).SequenceEqual(ExternalIPsGate))
                isAllowed = isOn;
            else
                warnings.Add($"feature gate {gate[..equals]} of --kube-proxy-arg has no effect: what is on by default in 1.36 is on");
        }
        return isAllowed;
    }

    private static Dictionary<string, string> Conntrack(ComponentArguments arguments)
    {
        var settings = new Dictionary<string, string>();
        var perCore = arguments.Number("conntrack-max-per-core", 0, 0, int.MaxValue);
        var least = arguments.Number("conntrack-min", 0, 0, int.MaxValue);
        if (perCore > 0)
            settings["net/netfilter/nf_conntrack_max"] = Math.Max(least, (long)perCore * Environment.ProcessorCount).ToString(CultureInfo.InvariantCulture);
        if (arguments.Switch("conntrack-tcp-be-liberal", false))
            settings["net/netfilter/nf_conntrack_tcp_be_liberal"] = "1";
        foreach (var (flag, setting) in ((string, string)[])[
            ("conntrack-tcp-timeout-established", "tcp_timeout_established"), ("conntrack-tcp-timeout-close-wait", "tcp_timeout_close_wait"),
            ("conntrack-udp-timeout", "udp_timeout"), ("conntrack-udp-timeout-stream", "udp_timeout_stream")])
        {
            if (arguments.Duration(flag, TimeSpan.Zero) is { TotalSeconds: >= 1 } timeout)
                settings["net/netfilter/nf_conntrack_" + setting] = ((long)timeout.TotalSeconds).ToString(CultureInfo.InvariantCulture);
        }
        return settings;
    }

    // 10.0.0.1/8 means 10.0.0.0/8, as everywhere in kube-proxy.
    private static IPNetwork Network(string text, string flag)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash > 0 && IPAddress.TryParse(text.AsSpan(0, slash), out var address) && int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var length))
        {
            var bytes = address.GetAddressBytes();
            if (length <= bytes.Length * 8)
            {
                for (var bit = length; bit < bytes.Length * 8; bit++)
                    bytes[bit / 8] &= (byte)~(0x80 >> (bit % 8));
                return new IPNetwork(new IPAddress(bytes), length);
            }
        }
        throw new ConfigurationException($"invalid value \"{text}\" for {flag} in --kube-proxy-arg: must be a network such as 10.0.0.0/8");
    }

    private static IEnumerable<(string Name, FlagFate Fate, string Why)> Table()
    {
        foreach (var name in s_honoured)
            yield return (name, FlagFate.Honoured, "");
        foreach (var (fate, why, names) in s_others)
        {
            foreach (var name in names)
                yield return (name, fate, why);
        }
    }
}
