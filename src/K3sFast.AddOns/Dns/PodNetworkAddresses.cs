using System.Net;
using System.Net.NetworkInformation;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// The addresses that a node has in the pods' network: the first of each of its networks, which the link between the nodes bears (as flannel gives them).
/// </summary>
internal static class PodNetworkAddresses
{
    // The network is set up once in a node's life; until then nothing tells that a link got its address.
    private static readonly TimeSpan s_lookAgain = TimeSpan.FromMilliseconds(100);

    /// <summary>Waits until the node has networks and this host their addresses.</summary>
    internal static async Task<IReadOnlyList<IPAddress>> WaitAsync(string nodeName, Informer<V1Node> nodes, TimeProvider time, CancellationToken cancellationToken)
    {
        while (true)
        {
            var wanted = Of(nodes.Get(null, nodeName));
            if (wanted.Count > 0 && wanted.All(Own().Contains)) return wanted;
            await Task.Delay(s_lookAgain, time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The addresses that a node is to have there; none before it has networks.</summary>
    internal static IReadOnlyList<IPAddress> Of(V1Node? node) =>
        [.. (node?.Spec?.PodCIDRs ?? []).Select(static text => IPNetwork.TryParse(text, out var network) ? network.BaseAddress : null).OfType<IPAddress>()];

    private static HashSet<IPAddress> Own() =>
        [.. NetworkInterface.GetAllNetworkInterfaces().SelectMany(static link => link.GetIPProperties().UnicastAddresses).Select(static unicast => unicast.Address)];
}
