using System.Net;

namespace K3sFast.Network.Overlay;

/// <summary>How another node's pods are reached, in one address family.</summary>
/// <param name="NodeName">The node.</param>
/// <param name="Subnet">Its pods' addresses.</param>
/// <param name="PublicIP">Where traffic to it is sent.</param>
/// <param name="Data">What its backend says of itself: the JSON of flannel's annotation.</param>
internal sealed record OverlayPeer(string NodeName, IPNetwork Subnet, IPAddress PublicIP, string Data);
