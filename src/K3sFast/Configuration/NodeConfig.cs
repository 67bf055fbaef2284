using System.Net;
using System.Security.Cryptography;
using K3sFast.Network.Proxy;

namespace K3sFast.Configuration;

/// <summary>What a node was told to be, server or agent alike: names, addresses, files, runtime, network. Checked and typed; immutable; made once at start.</summary>
internal class NodeConfig
{
    protected NodeConfig(FlagValues flags)
    {
        Warnings = [.. flags.Warnings];
        KubeletArgs = new("kubelet-arg", flags.Many("kubelet-arg"));
        Proxy = ProxyFlags.Read(new("kube-proxy-arg", flags.Many("kube-proxy-arg")), Warnings);
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

        Token = TokenText(flags, "token", "token-file");
        LoadBalancerPort = flags.Number("lb-server-port", 1, 65535);
        FlannelInterface = flags.Text("flannel-iface");
        FlannelConf = flags.Text("flannel-conf");
        FlannelCniConf = flags.Text("flannel-cni-conf");
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
    /// <summary>What <c>--kube-proxy-arg</c> asks of the service proxy.</summary>
    public ProxyOptions Proxy { get; }

    public string NodeName { get; }
    /// <summary>At least one; the first is the node's primary address.</summary>
    public List<IPAddress> NodeIPs { get; }
    public List<IPAddress> NodeExternalIPs { get; }
    public List<KeyValuePair<string, string>> NodeLabels { get; }
    /// <summary>As written: <c>key=value:Effect</c>.</summary>
    public List<string> NodeTaints { get; }

    /// <summary>Token from flag, file or environment; empty when none was given.</summary>
    public string Token { get; }
    /// <summary>Where a node's own clients find a server, whichever lives.</summary>
    public int LoadBalancerPort { get; }

    /// <summary>Link that carries traffic between nodes; empty: the one with the node's address.</summary>
    public string FlannelInterface { get; }
    /// <summary>A flannel net-conf.json that says the backend, instead of the cluster; empty: none.</summary>
    public string FlannelConf { get; }
    /// <summary>A CNI network list that is used instead of ours; empty: none.</summary>
    public string FlannelCniConf { get; }

    /// <summary>Empty: the host's own.</summary>
    public string ResolvConf { get; }
    /// <summary>Empty: the built-in image.</summary>
    public string PauseImage { get; }
    public string Snapshotter { get; }
    public string DefaultRuntime { get; }
    public bool NonRootDevices { get; }
    /// <summary>Path of a foreign CRI socket; empty when we run containerd ourselves.</summary>
    public string RuntimeEndpoint { get; }

    /// <summary>The node's part of any command's flags: for commands that only look for what a node left.</summary>
    /// <exception cref="ConfigurationException">A value is malformed.</exception>
    public static NodeConfig From(FlagValues flags) => new(flags);

    protected static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;

    protected static IPAddress Address(string text, string flag) =>
        IPAddress.TryParse(text, out var address) ? address : throw new ConfigurationException($"invalid IP address \"{text}\" in --{flag}");

    protected static List<IPAddress> Addresses(FlagValues flags, string flag) => flags.Many(flag).ConvertAll(text => Address(text, flag));

    protected static string TokenText(FlagValues flags, string flag, string fileFlag)
    {
        var file = flags.Text(fileFlag);
        if (flags.Text(flag) is { Length: > 0 } token || file.Length == 0)
            return flags.Text(flag).Trim();
        try
        {
            return File.ReadAllText(file).Trim() is { Length: > 0 } text ? text : throw new ConfigurationException($"token file {file} is empty");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"failed to read token file {file}: {e.Message}", e);
        }
    }

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

    private static List<KeyValuePair<string, string>> Labels(FlagValues flags) => flags.Many("node-label").ConvertAll(static text =>
    {
        var equals = text.IndexOf('=');
        return equals > 0
            ? KeyValuePair.Create(text[..equals], text[(equals + 1)..])
            : throw new ConfigurationException($"invalid node label \"{text}\": must be key=value");
    });
}
