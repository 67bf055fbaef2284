using System.Net;
using K3sFast.Configuration;

namespace K3sFast.Server;

/// <summary>Chooses the resolver file that pods with the host's DNS, and the cluster's DNS itself, read.</summary>
internal static class NodeResolver
{
    private const string Host = "/etc/resolv.conf";
    private const string SystemdUplinks = "/run/systemd/resolve/resolv.conf";

    /// <summary>The flag's file; else the host's when it names a server that pods can reach; else systemd-resolved's uplinks; else one with 8.8.8.8.</summary>
    public static string Choose(NodeConfig config)
    {
        if (config.ResolvConf.Length > 0)
            return config.ResolvConf;
        foreach (var path in (string[])[Host, SystemdUplinks])
        {
            if (HasReachableServer(path))
                return path;
        }
        var generated = Path.Combine(config.Paths.AgentEtc, "resolv.conf");
        File.WriteAllText(generated, "nameserver 8.8.8.8\n");
        return generated;
    }

    // A loopback resolver is the host's own; inside a pod that address is the pod.
    internal static bool HasReachableServer(string path)
    {
        if (!File.Exists(path))
            return false;
        foreach (var line in File.ReadLines(path))
        {
            var words = line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            if (words.Length > 1 && words[0] == "nameserver" && IPAddress.TryParse(words[1], out var address) && !IPAddress.IsLoopback(address))
                return true;
        }
        return false;
    }
}
