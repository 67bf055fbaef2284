using System.Net;
using k8s.Models;
using K3sFast.Network.Cni;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Routes;

/// <summary>Hears of nodes: ours brings the pod CIDRs, others would have to be reached. Called by the informer, one call at a time.</summary>
internal sealed class NodeWatcher(NetworkOptions options, NodeSetup setup, CniHandler handler, ILogger logger)
{
    private readonly Dictionary<string, string> _unreachable = [];
    private string _configured = "";

    /// <summary>A node appeared or changed.</summary>
    internal void Changed(V1Node node)
    {
        var cidrs = node.Spec?.PodCIDRs is { Count: > 0 } all ? all : node.Spec?.PodCIDR is { Length: > 0 } one ? [one] : (IList<string>)[];
        if (cidrs.Count == 0) return;
        var text = string.Join(',', cidrs);
        if (node.Metadata.Name != options.NodeName)
        {
            // Said once per node and CIDR: nodes change every few seconds.
            if (_unreachable.TryGetValue(node.Metadata.Name, out var known) && known == text) return;
            _unreachable[node.Metadata.Name] = text;
            Log.NodeNotReachable(logger, node.Metadata.Name, text);
            return;
        }
        if (_configured != text) Configure(node.Metadata.Name, cidrs, text);
    }

    /// <summary>A node is gone.</summary>
    internal void Removed(V1Node node) => _unreachable.Remove(node.Metadata.Name);

    private void Configure(string nodeName, IList<string> cidrs, string text)
    {
        var networks = new List<IPNetwork>(cidrs.Count);
        foreach (var cidr in cidrs)
        {
            if (!IPNetwork.TryParse(cidr, out var network))
            {
                Log.PodCidrMalformed(logger, nodeName, text);
                return;
            }
            networks.Add(network);
        }
        var mtu = options.Mtu > 0 ? options.Mtu : setup.FindMtu();
        handler.Configure(new PodNetworkSettings(networks, mtu, setup.FindPreferredSources()));
        CniInstaller.InstallConfiguration(options.CniConfDir, options.CniSocketPath);
        _configured = text;
        Log.PodNetworkReady(logger, text, mtu);
    }
}
