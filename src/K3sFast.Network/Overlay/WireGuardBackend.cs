using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;

namespace K3sFast.Network.Overlay;

/// <summary>
/// WireGuard as flannel has it: one device per node and family (flannel-wg, port 51820; flannel-wg-v6, port 51821), a peer per node that may send from its
/// pods' subnet, and a route to it.
/// </summary>
internal sealed class WireGuardBackend(RouteSocket host, NetworkNamespace? hostNamespace, OverlayOptions options, bool isIPv6) : OverlayBackend
{
    // IPv6, UDP and WireGuard around a packet: 40 + 8 + 32 bytes, as flannel and wg-quick(8) reckon.
    private const int Overhead = 80;
    private const int KeyBytes = 32;

    private readonly string _name = isIPv6 ? "flannel-wg-v6" : "flannel-wg";
    private readonly ushort _port = isIPv6 ? options.WireGuardPorts.IPv6 : options.WireGuardPorts.IPv4;
    private WireGuardSocket? _wireGuard;
    private byte[] _publicKey = [];

    internal override string Type => "wireguard";

    internal override string Data => $$"""{"PublicKey":"{{Convert.ToBase64String(_publicKey)}}"}""";

    internal override bool EnsureDevice(Underlay underlay, IPNetwork subnet)
    {
        Mtu = (options.UnderlayMtu > 0 ? options.UnderlayMtu : underlay.Link.Mtu) - Overhead;
        using var batch = new NetlinkBatch();
        var link = host.FindLink(_name);
        var isNew = link?.Kind != "wireguard";
        if (isNew)
        {
            Replaced = link is null ? null : (_name, link.Kind.Length > 0 ? link.Kind : "a device");
            try
            {
                if (link is not null) batch.DeleteLink(_name);
                batch.AddWireGuard(_name, Mtu);
                host.Execute(batch);
            }
            catch (KernelException e) when (e.Errno is Errno.EOPNOTSUPP or Errno.ENOENT)
            {
                throw new OverlayException($"this kernel has no WireGuard ({e.Message}): load its module (modprobe wireguard; Linux 5.6 and later have it) or choose another --flannel-backend");
            }
            batch.Clear();
            link = host.FindLink(_name) ?? throw new KernelException("get link " + _name, Errno.ENODEV);
        }
        LinkIndex = link!.Index;
        if (link.Mtu != Mtu) batch.SetLinkMtu(LinkIndex, Mtu);
        if (!link.IsUp) batch.SetLinkUp(LinkIndex);
        if (!host.ListAddresses().Any(address => address.LinkIndex == LinkIndex && address.Address.Equals(subnet.BaseAddress)))
            batch.AddAddress(LinkIndex, subnet.BaseAddress, subnet.BaseAddress.GetAddressBytes().Length * 8);
        host.Execute(batch);
        _wireGuard ??= WireGuardSocket.TryOpen(hostNamespace) ?? throw new OverlayException("this kernel has no netlink family wireguard: load its module, or choose another --flannel-backend");
        _wireGuard.SetDevice(LinkIndex, PrivateKey(), _port);
        _publicKey = _wireGuard.GetDevice(LinkIndex).PublicKey;
        return isNew;
    }

    internal override IReadOnlyList<KernelEntry> EntriesOf(OverlayPeer peer, out string? refusal)
    {
        refusal = ReadKey(peer.Data) is null ? $"its backend data has no WireGuard key: {peer.Data}" : null;
        return refusal is null ? [new RouteEntry(new RouteSpec(peer.Subnet, LinkIndex, null, isIPv6 ? RouteScope.Universe : RouteScope.Link))] : [];
    }

    internal override IReadOnlyList<KernelEntry> ReadEntries(RouteSocket host) =>
    [
        .. host.ListRoutes(isIPv6)
            .Where(route => route.LinkIndex == LinkIndex && route is { Protocol: RouteSpec.OwnProtocol, Table: 254 })
            .Select(route => new RouteEntry(new RouteSpec(route.Destination, LinkIndex, route.Gateway, isIPv6 ? RouteScope.Universe : RouteScope.Link))),
    ];

    internal override void PeersChanged(IReadOnlyList<OverlayPeer> present, IReadOnlyList<OverlayPeer> gone) =>
        _wireGuard!.ChangePeers(LinkIndex, [.. present.Select(Peer).OfType<WireGuardPeer>()], [.. gone.Select(Peer).OfType<WireGuardPeer>()]);

    private WireGuardPeer? Peer(OverlayPeer peer) =>
        ReadKey(peer.Data) is { } key
            ? new WireGuardPeer(key, new IPEndPoint(peer.PublicIP, _port), [peer.Subnet], options.WireGuardKeepaliveSeconds) { SharedKey = options.WireGuardSharedKey }
            : null;

    /// <summary>The key in a peer's annotation; null when there is none.</summary>
    internal static byte[]? ReadKey(string data)
    {
        try
        {
            using var document = JsonDocument.Parse(data);
            if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("PublicKey", out var text)) return null;
            var key = text.GetBytesFromBase64();
            return key.Length == KeyBytes ? key : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            return null;
        }
    }

    // Curve25519 takes any 32 bytes when these bits are set and cleared (RFC 7748 §5).
    private byte[] PrivateKey()
    {
        var path = Path.Combine(options.KeyDir, _name + ".key");
        if (File.Exists(path) && Convert.FromBase64String(File.ReadAllText(path).Trim()) is { Length: KeyBytes } kept) return kept;
        var key = RandomNumberGenerator.GetBytes(KeyBytes);
        key[0] &= 248;
        key[31] = (byte)((key[31] & 127) | 64);
        Directory.CreateDirectory(options.KeyDir);
        using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
        file.Write(System.Text.Encoding.ASCII.GetBytes(Convert.ToBase64String(key) + "\n"));
        return key;
    }
}
