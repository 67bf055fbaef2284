using System.Net;
using System.Net.Sockets;
using k8s.Models;

namespace K3sFast.Network.Overlay;

/// <summary>
/// What nodes tell each other about how they are reached, by flannel's annotations, so that nodes with flannel and nodes with us understand each other.
/// </summary>
internal static class FlannelAnnotations
{
    internal const string Prefix = "flannel.alpha.coreos.com/";
    internal const string BackendType = Prefix + "backend-type";
    internal const string SubnetManager = Prefix + "kube-subnet-manager";

    /// <summary>The backend's own words about a family.</summary>
    internal static string Data(bool isIPv6) => Prefix + (isIPv6 ? "backend-v6-data" : "backend-data");

    /// <summary>Where traffic to the node is sent.</summary>
    internal static string PublicIP(bool isIPv6) => Prefix + (isIPv6 ? "public-ipv6" : "public-ip");

    // An administrator's word on it, which flannel has to be told each time it starts.
    private static string PublicIPOverwrite(bool isIPv6) => PublicIP(isIPv6) + "-overwrite";

    /// <summary>Where an administrator says that a node is reached; null = nobody does.</summary>
    internal static string? OverwriteOf(V1Node node, bool isIPv6) =>
        node.Metadata.Annotations is { } annotations && annotations.TryGetValue(PublicIPOverwrite(isIPv6), out var text) && IPAddress.TryParse(text, out var address)
        && address.AddressFamily == (isIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork) ? text : null;

    /// <summary>What a node says about one family; null = nothing yet, or nothing that can be read.</summary>
    internal static OverlayPeer? Read(V1Node node, IReadOnlyList<IPNetwork> cidrs, bool isIPv6)
    {
        if (node.Metadata.Annotations is not { } annotations || !annotations.TryGetValue(Data(isIPv6), out var data)) return null;
        var family = isIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        if (OverwriteOf(node, isIPv6) is not { } text && !annotations.TryGetValue(PublicIP(isIPv6), out text)) return null;
        if (!IPAddress.TryParse(text, out var address) || address.AddressFamily != family) return null;
        foreach (var cidr in cidrs)
        {
            if (cidr.BaseAddress.AddressFamily == family) return new OverlayPeer(node.Metadata.Name, cidr, address, data);
        }
        return null;
    }

    /// <summary>The backend that a node uses; "" = it does not say.</summary>
    internal static string TypeOf(V1Node node) => node.Metadata.Annotations is { } annotations && annotations.TryGetValue(BackendType, out var type) ? type : "";

    /// <summary>A node's pod CIDRs; null = one of them cannot be read.</summary>
    internal static IReadOnlyList<IPNetwork>? CidrsOf(V1Node node)
    {
        IList<string> texts = node.Spec?.PodCIDRs is { Count: > 0 } all ? all : node.Spec?.PodCIDR is { Length: > 0 } one ? [one] : [];
        var networks = new List<IPNetwork>(texts.Count);
        foreach (var text in texts)
        {
            if (!IPNetwork.TryParse(text, out var network)) return null;
            networks.Add(network);
        }
        return networks;
    }
}
