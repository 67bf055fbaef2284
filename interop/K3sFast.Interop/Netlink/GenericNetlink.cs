using System.Runtime.CompilerServices;
using K3sFast.Interop.Namespaces;
using static K3sFast.Interop.Netlink.GenericConstants;
using static K3sFast.Interop.Netlink.NetlinkConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>
/// Generic netlink (linux/genetlink.h): families are found by name, and have their numbers from the moment their module is loaded. Layout of a message:
/// <c>nlmsghdr (type = family) | genlmsghdr | attributes</c>.
/// </summary>
internal static class GenericNetlink
{
    /// <summary>Opens a socket into <paramref name="inside"/>, or into the caller's namespace.</summary>
    internal static NetlinkSocket Open(NetworkNamespace? inside) => NetlinkSocket.Open(NetlinkProtocol.Generic, inside);

    /// <summary>Starts a message to a family.</summary>
    internal static void Begin(NetlinkBatch batch, ushort family, byte command, byte version, ushort flags, string operation, string? subject = null)
    {
        batch.Begin(family, flags, operation, subject);
        ref var header = ref batch.Append<genlmsghdr>();
        (header.cmd, header.version) = (command, version);
    }

    /// <summary>A family's number; null = the kernel has no such family, and no module for it.</summary>
    internal static ushort? FindFamily(NetlinkSocket socket, string name)
    {
        using var request = new NetlinkBatch();
        Begin(request, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, NLM_F_ACK, "find netlink family", name);
        request.Text(CTRL_ATTR_FAMILY_NAME, name);
        request.End();
        var found = new List<ushort>();
        try
        {
            socket.Dump(request, found, static list => list.Clear(), static (_, payload, list) =>
            {
                if (payload.Length < Unsafe.SizeOf<genlmsghdr>()) return;
                for (var attributes = new NetlinkAttributes(payload[Unsafe.SizeOf<genlmsghdr>()..]); attributes.Next();)
                {
                    if (attributes.Type == CTRL_ATTR_FAMILY_ID && attributes.Payload.Length >= 2) list.Add(BitConverter.ToUInt16(attributes.Payload));
                }
            });
        }
        catch (KernelException e) when (e.Errno == Errno.ENOENT)
        {
            return null;
        }
        return found.Count > 0 ? found[0] : null;
    }
}
