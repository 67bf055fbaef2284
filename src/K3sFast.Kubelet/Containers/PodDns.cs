using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Pods;
using k8s.Models;

namespace K3sFast.Kubelet.Containers;

/// <summary>The resolver configuration of a pod, from its dnsPolicy, its dnsConfig, the cluster's DNS and the host's own configuration.</summary>
internal static class PodDns
{
    // resolv.conf(5): what the C library reads; Kubernetes' bounds on search lists.
    private const int MaxServers = 3;
    private const int MaxSearches = 32;
    private const int MaxSearchChars = 2048;

    public static DNSConfig Build(V1Pod pod, KubeletOptions options)
    {
        var config = new DNSConfig();
        var policy = pod.Spec.DnsPolicy ?? "ClusterFirst";
        var useCluster = options.ClusterDns.Count > 0
            && (policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !pod.IsHostNetwork()));
        if (policy == "None")
        {
            // Only what dnsConfig says.
        }
        else
        {
            var host = ResolvConf.Read(options.ResolvConf);
            if (useCluster)
            {
                config.Servers.Add(options.ClusterDns.Select(address => address.ToString()));
                var domain = options.ClusterDomain;
                if (domain.Length > 0) config.Searches.Add([$"{pod.Metadata.NamespaceProperty}.svc.{domain}", $"svc.{domain}", domain]);
                AddNew(config.Searches, host.Searches);
                config.Options.Add("ndots:5");
            }
            else
            {
                config.Servers.Add(host.Servers);
                config.Searches.Add(host.Searches);
                config.Options.Add(host.Options);
            }
        }
        if (pod.Spec.DnsConfig is { } own)
        {
            AddNew(config.Servers, own.Nameservers ?? []);
            AddNew(config.Searches, own.Searches ?? []);
            foreach (var option in own.Options ?? []) Replace(config.Options, option);
        }
        while (config.Servers.Count > MaxServers) config.Servers.RemoveAt(config.Servers.Count - 1);
        while (config.Searches.Count > MaxSearches || config.Searches.Sum(search => search.Length + 1) > MaxSearchChars) config.Searches.RemoveAt(config.Searches.Count - 1);
        return config;
    }

    private static void AddNew(ICollection<string> target, IEnumerable<string> values)
    {
        foreach (var value in values)
        {
            if (!target.Contains(value)) target.Add(value);
        }
    }

    // An option of the pod replaces the one of the same name.
    private static void Replace(Google.Protobuf.Collections.RepeatedField<string> target, V1PodDNSConfigOption option)
    {
        for (var i = target.Count - 1; i >= 0; i--)
        {
            if (target[i] == option.Name || target[i].StartsWith(option.Name + ":", StringComparison.Ordinal)) target.RemoveAt(i);
        }
        target.Add(string.IsNullOrEmpty(option.Value) ? option.Name : $"{option.Name}:{option.Value}");
    }
}

/// <summary>The host's resolver configuration (resolv.conf(5)): servers, the last search list, options.</summary>
internal sealed record ResolvConf(IReadOnlyList<string> Servers, IReadOnlyList<string> Searches, IReadOnlyList<string> Options)
{
    public static ResolvConf Read(string path)
    {
        if (!File.Exists(path)) return new ResolvConf([], [], []);
        List<string> servers = [], searches = [], options = [];
        foreach (var line in File.ReadLines(path))
        {
            var fields = line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length < 2 || fields[0].StartsWith('#') || fields[0].StartsWith(';')) continue;
            switch (fields[0])
            {
                case "nameserver":
                    servers.Add(fields[1]);
                    break;
                case "search":
                    searches = [.. fields[1..].Where(search => search != ".").Select(search => search.TrimEnd('.'))];
                    break;
                case "options":
                    options = [.. fields[1..]];
                    break;
                default:
                    break;
            }
        }
        return new ResolvConf(servers, searches, options);
    }
}
