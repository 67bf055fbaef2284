using System.Security.Cryptography;
using System.Text;

namespace K3sFast.Configuration;

/// <summary>Every directory and file of a node, derived from the flags that move them. k3s's layout and names.</summary>
/// <remarks>Pure values; <see cref="CreateDirectories"/> is the only member that touches the disk.</remarks>
internal sealed class NodePaths
{
    public NodePaths(string dataDir, string? runDir, string kubeletRoot, string podLogs)
    {
        Data = Path.TrimEndingDirectorySeparator(Path.GetFullPath(dataDir));
        IsDefaultData = Data == FlagTable.DefaultDataDir;
        Run = Path.TrimEndingDirectorySeparator(Path.GetFullPath(runDir ?? DefaultRunFor(Data)));
        KubeletRoot = Path.GetFullPath(kubeletRoot);
        PodLogs = Path.GetFullPath(podLogs);
    }

    public string Data { get; }
    /// <summary>Sockets and run-time state; short, because a Unix socket's path ends at 107 bytes.</summary>
    public string Run { get; }
    public string KubeletRoot { get; }
    public string PodLogs { get; }
    /// <summary>True for the machine's first node; others carry <see cref="Tag"/> in names that are global to the machine.</summary>
    public bool IsDefaultData { get; }
    /// <summary>Eight hex digits that tell this data directory from others, empty for the default one.</summary>
    public string Tag => IsDefaultData ? "" : TagOf(Data);

    public string ServerDir => Path.Combine(Data, "server");
    public string Tls => Path.Combine(ServerDir, "tls");
    public string Cred => Path.Combine(ServerDir, "cred");
    public string Database => Path.Combine(ServerDir, "db");
    public string Manifests => Path.Combine(ServerDir, "manifests");
    public string Static => Path.Combine(ServerDir, "static");
    public string Token => Path.Combine(ServerDir, "token");
    public string NodeToken => Path.Combine(ServerDir, "node-token");
    public string AgentToken => Path.Combine(ServerDir, "agent-token");

    public string Agent => Path.Combine(Data, "agent");
    public string AgentEtc => Path.Combine(Agent, "etc");
    public string CniConf => Path.Combine(AgentEtc, "cni", "net.d");
    public string Images => Path.Combine(Agent, "images");
    public string PodManifests => Path.Combine(Agent, "pod-manifests");
    public string ContainerdRoot => Path.Combine(Agent, "containerd");
    public string ContainerdLog => Path.Combine(ContainerdRoot, "containerd.log");
    public string ContainerdConfig => Path.Combine(AgentEtc, "containerd", "config.toml");
    public string RegistryHosts => Path.Combine(AgentEtc, "containerd", "certs.d");
    public string CniBin => Path.Combine(Data, "data", "cni");
    /// <summary>The node's own password, by which a server tells it from another node of the same name: the machine's, as in k3s, or this data directory's.</summary>
    public string NodePassword => IsDefaultData ? "/etc/rancher/node/password" : Path.Combine(AgentEtc, "node-password");
    public string FlannelConf => Path.Combine(AgentEtc, "flannel", "net-conf.json");
    public string LocalStorage => Path.Combine(Data, "storage");

    public string ContainerdState => Path.Combine(Run, "containerd");
    public string ContainerdSocket => Path.Combine(ContainerdState, "containerd.sock");
    public string ContainerdPid => Path.Combine(ContainerdState, "k3sfast-containerd.pid");
    public string CniSocket => Path.Combine(Run, "cni.sock");
    /// <summary>Where pods' cgroups start: <c>/</c> as in k3s, or a subtree of its own beside other nodes on the machine.</summary>
    public string CgroupRoot => IsDefaultData ? "/" : "/k3s-" + Tag;

    /// <summary><c>/run/k3s</c> for the default data directory, <c>/run/k3s-&lt;tag&gt;</c> for any other.</summary>
    public static string DefaultRunFor(string dataDir)
    {
        var data = Path.TrimEndingDirectorySeparator(Path.GetFullPath(dataDir));
        return data == FlagTable.DefaultDataDir ? FlagTable.DefaultRunDir : $"{FlagTable.DefaultRunDir}-{TagOf(data)}";
    }

    /// <summary>Makes all directories, those of a server only when it is one; those that hold secrets are 0700.</summary>
    /// <exception cref="ConfigurationException">A directory cannot be made or written to.</exception>
    public void CreateDirectories(bool isServer = true)
    {
        const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        const UnixFileMode Open = Private | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;
        var current = Data;
        try
        {
            foreach (var path in (string[])[Data, Run])
                Directory.CreateDirectory(current = path, Open);
            foreach (var path in (string[])[Agent, .. isServer ? [ServerDir, Tls, Cred, Database] : Array.Empty<string>()])
                Directory.CreateDirectory(current = path, Private);
            foreach (var path in (string[])[.. isServer ? [Manifests, Static] : Array.Empty<string>(), AgentEtc, CniConf, Images, PodManifests, ContainerdRoot,
                Path.GetDirectoryName(ContainerdConfig)!, RegistryHosts, CniBin, LocalStorage, ContainerdState, KubeletRoot, PodLogs])
                Directory.CreateDirectory(current = path, Open);
            current = Data;
            var probe = Path.Combine(Data, $".writable-{Environment.ProcessId}");
            File.WriteAllText(probe, "x");
            File.Delete(probe);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"cannot write to {current}: {e.Message.TrimEnd('.')}; free space, fix its permissions, or choose another --data-dir", e);
        }
    }

    private static string TagOf(string data) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(data)).AsSpan(0, 4));
}
