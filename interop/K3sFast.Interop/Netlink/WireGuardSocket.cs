using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using K3sFast.Interop.Namespaces;
using static K3sFast.Interop.Netlink.GenericConstants;
using static K3sFast.Interop.Netlink.NetlinkConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>A peer of a WireGuard device.</summary>
/// <param name="PublicKey">32 bytes.</param>
/// <param name="Endpoint">Where its packets are sent.</param>
/// <param name="AllowedNetworks">What may come from it, and is sent to it.</param>
/// <param name="KeepaliveSeconds">How often something is sent so that a NAT on the way stays open; 0 = never.</param>
public sealed record WireGuardPeer(ReadOnlyMemory<byte> PublicKey, IPEndPoint Endpoint, IReadOnlyList<IPNetwork> AllowedNetworks, int KeepaliveSeconds)
{
    /// <summary>A secret of both, 32 bytes; empty = none.</summary>
    public ReadOnlyMemory<byte> SharedKey { get; init; }
}

/// <summary>Keys and peers of WireGuard devices, by generic netlink (linux/wireguard.h; Linux 5.6 and later).</summary>
/// <remarks>Any thread. A private key that is given to the kernel cannot be read back by who has no CAP_NET_ADMIN.</remarks>
public sealed class WireGuardSocket : IDisposable
{
    private readonly NetlinkSocket _socket;
    private readonly ushort _family;

    internal WireGuardSocket(NetlinkSocket socket, ushort family) => (_socket, _family) = (socket, family);

    /// <summary>Opens a socket into <paramref name="inside"/>, or into the caller's namespace; null = the kernel has no WireGuard.</summary>
    public static WireGuardSocket? TryOpen(NetworkNamespace? inside = null)
    {
        var socket = GenericNetlink.Open(inside);
        if (GenericNetlink.FindFamily(socket, "wireguard") is { } family) return new WireGuardSocket(socket, family);
        socket.Dispose();
        return null;
    }

    /// <summary>Gives a device its private key and port.</summary>
    public void SetDevice(int linkIndex, ReadOnlySpan<byte> privateKey, ushort port)
    {
        using var batch = new NetlinkBatch();
        WriteDevice(batch, _family, linkIndex, privateKey, port);
        _socket.Execute(batch);
    }

    /// <summary>Adds peers or changes them, and removes others.</summary>
    public void ChangePeers(int linkIndex, IReadOnlyList<WireGuardPeer> set, IReadOnlyList<WireGuardPeer> removed)
    {
        using var batch = new NetlinkBatch();
        foreach (var peer in removed) WritePeer(batch, _family, linkIndex, peer, isRemoved: true);
        foreach (var peer in set) WritePeer(batch, _family, linkIndex, peer, isRemoved: false);
        _socket.Execute(batch);
    }

    /// <summary>The device's public key, which the kernel works out of the private one, and its peers' public keys.</summary>
    public (byte[] PublicKey, IReadOnlyList<byte[]> Peers) GetDevice(int linkIndex)
    {
        using var request = new NetlinkBatch();
        GenericNetlink.Begin(request, _family, WG_CMD_GET_DEVICE, WG_GENL_VERSION, NLM_F_DUMP, "get wireguard device");
        request.U32(WGDEVICE_A_IFINDEX, (uint)linkIndex);
        request.End();
        var found = new List<byte[]> { Array.Empty<byte>() };
        _socket.Dump(request, found, static list => list.RemoveRange(1, list.Count - 1), static (_, payload, list) => ReadDevice(payload, list));
        return (found[0], found[1..]);
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    internal static void WriteDevice(NetlinkBatch batch, ushort family, int linkIndex, ReadOnlySpan<byte> privateKey, ushort port)
    {
        GenericNetlink.Begin(batch, family, WG_CMD_SET_DEVICE, WG_GENL_VERSION, NLM_F_ACK, "set wireguard device");
        batch.U32(WGDEVICE_A_IFINDEX, (uint)linkIndex);
        batch.Bytes(WGDEVICE_A_PRIVATE_KEY, privateKey);
        batch.U16(WGDEVICE_A_LISTEN_PORT, port);
        batch.End();
    }

    internal static void WritePeer(NetlinkBatch batch, ushort family, int linkIndex, WireGuardPeer peer, bool isRemoved)
    {
        GenericNetlink.Begin(batch, family, WG_CMD_SET_DEVICE, WG_GENL_VERSION, NLM_F_ACK, isRemoved ? "remove wireguard peer" : "set wireguard peer", peer.Endpoint.ToString());
        batch.U32(WGDEVICE_A_IFINDEX, (uint)linkIndex);
        var peers = batch.BeginNested(WGDEVICE_A_PEERS);
        var one = batch.BeginNested(0);
        batch.Bytes(WGPEER_A_PUBLIC_KEY, peer.PublicKey.Span);
        batch.U32(WGPEER_A_FLAGS, isRemoved ? WGPEER_F_REMOVE_ME : WGPEER_F_REPLACE_ALLOWEDIPS);
        if (!isRemoved)
        {
            if (peer.SharedKey.Length > 0) batch.Bytes(WGPEER_A_PRESHARED_KEY, peer.SharedKey.Span);
            // struct sockaddr_in or sockaddr_in6, as .NET keeps it on Linux.
            batch.Bytes(WGPEER_A_ENDPOINT, peer.Endpoint.Serialize().Buffer.Span[..peer.Endpoint.Serialize().Size]);
            batch.U16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, (ushort)peer.KeepaliveSeconds);
            var allowed = batch.BeginNested(WGPEER_A_ALLOWEDIPS);
            foreach (var network in peer.AllowedNetworks)
            {
                var entry = batch.BeginNested(0);
                batch.U16(WGALLOWEDIP_A_FAMILY, network.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6 ? (ushort)Libc.AF_INET6 : (ushort)Libc.AF_INET);
                RouteBatch.Address(batch, WGALLOWEDIP_A_IPADDR, network.BaseAddress);
                batch.U8(WGALLOWEDIP_A_CIDR_MASK, (byte)network.PrefixLength);
                batch.EndNested(entry);
            }
            batch.EndNested(allowed);
        }
        batch.EndNested(one);
        batch.EndNested(peers);
        batch.End();
    }

    private static void ReadDevice(ReadOnlySpan<byte> payload, List<byte[]> found)
    {
        if (payload.Length < Unsafe.SizeOf<genlmsghdr>()) return;
        for (var device = new NetlinkAttributes(payload[Unsafe.SizeOf<genlmsghdr>()..]); device.Next();)
        {
            if (device.Type == WGDEVICE_A_PUBLIC_KEY) found[0] = device.Payload.ToArray();
            if (device.Type != WGDEVICE_A_PEERS) continue;
            for (var peers = new NetlinkAttributes(device.Payload); peers.Next();)
            {
                for (var peer = new NetlinkAttributes(peers.Payload); peer.Next();)
                {
                    if (peer.Type == WGPEER_A_PUBLIC_KEY) found.Add(peer.Payload.ToArray());
                }
            }
        }
    }
}
