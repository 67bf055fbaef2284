using System.Runtime.CompilerServices;
using K3sFast.Interop.Namespaces;
using static K3sFast.Interop.Netlink.GenericConstants;
using static K3sFast.Interop.Netlink.NetlinkConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>Offloads of a link, by generic netlink (linux/ethtool_netlink.h; Linux 5.7 and later).</summary>
/// <remarks>Any thread.</remarks>
public sealed class EthtoolSocket : IDisposable
{
    private readonly NetlinkSocket _socket;
    private readonly ushort _family;

    internal EthtoolSocket(NetlinkSocket socket, ushort family) => (_socket, _family) = (socket, family);

    /// <summary>Opens a socket into <paramref name="inside"/>, or into the caller's namespace; null = the kernel has no such netlink family.</summary>
    public static EthtoolSocket? TryOpen(NetworkNamespace? inside = null)
    {
        var socket = GenericNetlink.Open(inside);
        if (GenericNetlink.FindFamily(socket, "ethtool") is { } family) return new EthtoolSocket(socket, family);
        socket.Dispose();
        return null;
    }

    /// <summary>Switches a feature ("tx-checksum-ip-generic") of a link.</summary>
    /// <exception cref="KernelException">The link is not there, or the kernel knows no such feature.</exception>
    public void SetFeature(int linkIndex, string feature, bool isOn)
    {
        using var batch = new NetlinkBatch();
        WriteSetFeature(batch, _family, linkIndex, feature, isOn);
        _socket.Execute(batch);
    }

    /// <summary>The features that are on.</summary>
    public IReadOnlySet<string> ListActiveFeatures(int linkIndex)
    {
        using var request = new NetlinkBatch();
        GenericNetlink.Begin(request, _family, ETHTOOL_MSG_FEATURES_GET, ETHTOOL_GENL_VERSION, NLM_F_ACK, "get link features");
        WriteHeader(request, linkIndex);
        request.End();
        var active = new HashSet<string>();
        _socket.Dump(request, active, static set => set.Clear(), static (_, payload, set) =>
        {
            if (payload.Length < Unsafe.SizeOf<genlmsghdr>()) return;
            for (var features = new NetlinkAttributes(payload[Unsafe.SizeOf<genlmsghdr>()..]); features.Next();)
            {
                if (features.Type == ETHTOOL_A_FEATURES_ACTIVE) ReadBits(features.Payload, set);
            }
        });
        return active;
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    // A bit that is named without a value is one to be cleared.
    internal static void WriteSetFeature(NetlinkBatch batch, ushort family, int linkIndex, string feature, bool isOn)
    {
        GenericNetlink.Begin(batch, family, ETHTOOL_MSG_FEATURES_SET, ETHTOOL_GENL_VERSION, NLM_F_ACK, "set link feature", feature);
        WriteHeader(batch, linkIndex);
        var wanted = batch.BeginNested(ETHTOOL_A_FEATURES_WANTED);
        var bits = batch.BeginNested(ETHTOOL_A_BITSET_BITS);
        var bit = batch.BeginNested(ETHTOOL_A_BITSET_BITS_BIT);
        batch.Text(ETHTOOL_A_BITSET_BIT_NAME, feature);
        if (isOn) batch.Bytes(ETHTOOL_A_BITSET_BIT_VALUE, []);
        batch.EndNested(bit);
        batch.EndNested(bits);
        batch.EndNested(wanted);
        batch.End();
    }

    private static void WriteHeader(NetlinkBatch batch, int linkIndex)
    {
        var header = batch.BeginNested(ETHTOOL_A_FEATURES_HEADER);
        batch.U32(ETHTOOL_A_HEADER_DEV_INDEX, (uint)linkIndex);
        batch.EndNested(header);
    }

    private static void ReadBits(ReadOnlySpan<byte> bitset, HashSet<string> set)
    {
        for (var parts = new NetlinkAttributes(bitset); parts.Next();)
        {
            if (parts.Type != ETHTOOL_A_BITSET_BITS) continue;
            for (var bits = new NetlinkAttributes(parts.Payload); bits.Next();)
            {
                for (var bit = new NetlinkAttributes(bits.Payload); bit.Next();)
                {
                    if (bit.Type == ETHTOOL_A_BITSET_BIT_NAME) set.Add(bit.Text);
                }
            }
        }
    }
}
