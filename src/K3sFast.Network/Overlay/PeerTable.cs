using System.Net;
using System.Net.Sockets;
using K3sFast.Interop;
using K3sFast.Interop.Netlink;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Overlay;

/// <summary>The peers of one address family and what the kernel was told of them: a change is sent as the difference, many changes as one batch.</summary>
/// <remarks>One thread at a time. A peer costs three messages of some 170 bytes altogether over VXLAN, one of 60 with host-gw.</remarks>
internal sealed class PeerTable(RouteSocket host, OverlayBackend backend, bool isIPv6, ILogger logger)
{
    // Bounds the buffer: some 200 KB.
    private const int MaxBatchMessages = 3000;

    private readonly Dictionary<string, (OverlayPeer Peer, IReadOnlyList<KernelEntry> Entries)> _peers = [];
    private readonly Dictionary<string, string> _refused = [];
    private Underlay? _underlay;
    private IPNetwork _subnet;

    internal OverlayBackend Backend { get; } = backend;

    internal bool IsIPv6 { get; } = isIPv6;

    internal AddressFamily Family => IsIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;

    /// <summary>The address that peers send to, unless another was told.</summary>
    internal IPAddress? Local => _underlay?.Local;

    /// <summary>Bytes and messages that were sent since the start.</summary>
    internal (long Bytes, long Messages) Sent { get; private set; }

    /// <summary>Sets up the device for this node's own subnet.</summary>
    internal void Start(Underlay underlay, IPNetwork subnet)
    {
        (_underlay, _subnet) = (underlay, subnet);
        EnsureDevice(underlay);
    }

    /// <summary>Peers that are new, changed (with a value) or gone (null).</summary>
    /// <exception cref="KernelException">Refused; <see cref="Verify"/> puts it right.</exception>
    internal void Apply(IReadOnlyList<(string NodeName, OverlayPeer? Peer)> changes)
    {
        var (present, gone) = (new List<OverlayPeer>(), new List<OverlayPeer>());
        var (deleted, added) = (new List<KernelEntry>(), new List<KernelEntry>());
        foreach (var (name, peer) in changes)
        {
            var isKnown = _peers.TryGetValue(name, out var known);
            if (isKnown ? known.Peer == peer : peer is null) continue;
            IReadOnlyList<KernelEntry> before = isKnown ? known.Entries : [];
            if (isKnown && (peer is null || peer.Data != known.Peer.Data)) gone.Add(known.Peer);
            IReadOnlyList<KernelEntry> after = peer is null ? [] : EntriesOf(peer);
            if (peer is null)
            {
                _peers.Remove(name);
                _refused.Remove(name);
            }
            else
            {
                _peers[name] = (peer, after);
                present.Add(peer);
            }
            Difference(before, after, deleted, added);
        }
        if (present.Count > 0 || gone.Count > 0) Backend.PeersChanged(present, gone);
        Send(deleted, added);
    }

    /// <summary>Looks at the kernel, and puts right what is not as it should be; true = something had to be.</summary>
    /// <exception cref="KernelException">Refused.</exception>
    internal bool Verify(Underlay underlay)
    {
        _underlay = underlay;
        var wasIndex = Backend.LinkIndex;
        var isNew = EnsureDevice(underlay);
        if (wasIndex != Backend.LinkIndex)
        {
            // What was worked out for the device that is gone.
            foreach (var (name, (peer, _)) in _peers.ToList()) _peers[name] = (peer, EntriesOf(peer));
            if (_peers.Count > 0) Backend.PeersChanged([.. _peers.Values.Select(static known => known.Peer)], []);
        }
        var present = Backend.ReadEntries(host);
        var (deleted, added) = (new List<KernelEntry>(), new List<KernelEntry>());
        Difference(present, [.. _peers.Values.SelectMany(static known => known.Entries)], deleted, added);
        Send(deleted, added);
        return isNew || deleted.Count + added.Count > 0;
    }

    private bool EnsureDevice(Underlay underlay)
    {
        var isNew = Backend.EnsureDevice(underlay, _subnet);
        if (isNew && Backend.Replaced is { } replaced) Log.DeviceReplaced(logger, replaced.Name, replaced.Found);
        return isNew;
    }

    private IReadOnlyList<KernelEntry> EntriesOf(OverlayPeer peer)
    {
        var entries = Backend.EntriesOf(peer, out var refusal);
        // Said once per node and reason: nodes change every few seconds.
        if (refusal is null) _refused.Remove(peer.NodeName);
        else if (!_refused.TryGetValue(peer.NodeName, out var said) || said != refusal)
        {
            _refused[peer.NodeName] = refusal;
            Log.NodeNotReachable(logger, peer.NodeName, peer.Subnet.ToString(), refusal);
        }
        return entries;
    }

    // What another entry of the same key replaces must not be deleted after it.
    private static void Difference(IReadOnlyList<KernelEntry> before, IReadOnlyList<KernelEntry> after, List<KernelEntry> deleted, List<KernelEntry> added)
    {
        if (before.Count == 0)
        {
            added.AddRange(after);
            return;
        }
        var (known, wanted) = (before.ToHashSet(), after.Select(static entry => entry.Key).ToHashSet());
        deleted.AddRange(before.Where(entry => !wanted.Contains(entry.Key)));
        added.AddRange(after.Where(entry => !known.Contains(entry)));
    }

    private void Send(List<KernelEntry> deleted, List<KernelEntry> added)
    {
        using var batch = new NetlinkBatch();
        // A MAC or subnet that moves from one node to another is deleted before it is added.
        foreach (var entry in deleted)
        {
            entry.Delete(batch);
            Flush(batch, MaxBatchMessages);
        }
        foreach (var entry in added)
        {
            entry.Add(batch);
            Flush(batch, MaxBatchMessages);
        }
        Flush(batch, 1);
    }

    private void Flush(NetlinkBatch batch, int least)
    {
        if (batch.Count < least) return;
        Sent = (Sent.Bytes + batch.Length, Sent.Messages + batch.Count);
        host.Execute(batch);
        batch.Clear();
    }
}
