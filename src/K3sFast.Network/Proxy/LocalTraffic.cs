using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.NfTables;

namespace K3sFast.Network.Proxy;

/// <summary>The steps that tell pods' connections from others, in one family, as the detection mode asks. Pure.</summary>
internal sealed class LocalTraffic
{
    private readonly PacketSteps _steps;
    private readonly IPNetwork? _network;
    private readonly string _link = "";
    private readonly bool _isPrefix;

    /// <param name="steps">The family.</param>
    /// <param name="options">The mode.</param>
    /// <param name="nodePodCidrs">Pod networks of this node, as far as they are known.</param>
    internal LocalTraffic(PacketSteps steps, NetworkOptions options, IReadOnlyList<IPNetwork> nodePodCidrs)
    {
        _steps = steps;
        var family = steps.IsIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        _network = NetworkOf(family, options, nodePodCidrs);
        if (options.Proxy.LocalDetection is LocalDetection.BridgeInterface or LocalDetection.InterfaceNamePrefix)
            (_link, _isPrefix) = (options.Proxy.Interface, options.Proxy.LocalDetection == LocalDetection.InterfaceNamePrefix);
    }

    /// <summary>The network that pods are known by in a family; null = it is not known, or they are known by their links.</summary>
    internal static IPNetwork? NetworkOf(AddressFamily family, NetworkOptions options, IReadOnlyList<IPNetwork> nodePodCidrs) => options.Proxy.LocalDetection switch
    {
        LocalDetection.ClusterCidr => First(options.Proxy.ClusterCidrs ?? options.ClusterCidrs, family),
        LocalDetection.NodeCidr => First(nodePodCidrs, family),
        _ => null,
    };

    /// <summary>False: nothing is known of pods in this family; nobody is taken for one.</summary>
    internal bool IsKnown => _network is not null || _link.Length > 0;

    /// <summary>Goes on for connections of pods only, or (inverted) for all others only.</summary>
    internal NftExpression[] Match(bool isInverted = false)
    {
        if (_network is { } network) return _steps.SourceIs(network, isInverted);
        return _isPrefix ? PacketSteps.InputStartsWith(_link, isInverted) : PacketSteps.InputIs(_link, isInverted);
    }

    private static IPNetwork? First(IReadOnlyList<IPNetwork> networks, AddressFamily family)
    {
        foreach (var network in networks)
        {
            if (network.BaseAddress.AddressFamily == family) return network;
        }
        return null;
    }
}
