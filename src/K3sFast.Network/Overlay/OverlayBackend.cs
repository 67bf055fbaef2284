using System.Net;
using K3sFast.Interop.Netlink;

namespace K3sFast.Network.Overlay;

/// <summary>One way to carry traffic between nodes, in one address family. Called by one thread at a time.</summary>
internal abstract class OverlayBackend
{
    /// <summary>flannel's word for it.</summary>
    internal abstract string Type { get; }

    /// <summary>The link that peers' routes go through; 0 while there is none.</summary>
    internal int LinkIndex { get; private protected set; }

    /// <summary>Links whose changes may have taken something of ours away.</summary>
    internal virtual IEnumerable<int> WatchedLinks => [LinkIndex];

    /// <summary>MTU of this node's pods: what the underlay carries less what is put around a packet.</summary>
    internal int Mtu { get; private protected set; }

    /// <summary>What this node says of itself to the others; for flannel's annotation, JSON.</summary>
    internal abstract string Data { get; }

    /// <summary>What stood in the device's place when it was made last: its name, and what was wrong with it. Null = nothing did.</summary>
    internal (string Name, string Found)? Replaced { get; private protected set; }

    /// <summary>Makes the device what it should be, and keeps it when it is; true = it was made anew, and nothing is on it.</summary>
    /// <exception cref="Interop.KernelException">Refused.</exception>
    /// <exception cref="OverlayException">The kernel or the machine lacks what is needed; the message says what.</exception>
    internal abstract bool EnsureDevice(Underlay underlay, IPNetwork subnet);

    /// <summary>What the kernel must know to reach a peer; nothing, with a reason, when the peer cannot be reached this way.</summary>
    internal abstract IReadOnlyList<KernelEntry> EntriesOf(OverlayPeer peer, out string? refusal);

    /// <summary>What the kernel knows of peers now, ours and what somebody put on our device.</summary>
    internal abstract IReadOnlyList<KernelEntry> ReadEntries(RouteSocket host);

    /// <summary>A peer appeared, changed or went: for what is not a <see cref="KernelEntry"/>.</summary>
    internal virtual void PeersChanged(IReadOnlyList<OverlayPeer> present, IReadOnlyList<OverlayPeer> gone)
    {
    }
}

/// <summary>The overlay cannot work on this machine; the message says why and what to do.</summary>
internal sealed class OverlayException(string message) : Exception(message);
