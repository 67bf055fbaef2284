using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using static K3sFast.Interop.Netlink.NetlinkConstants;
using static K3sFast.Interop.NfTables.NftConstants;

namespace K3sFast.Interop.NfTables;

/// <summary>A base chain as the kernel describes it.</summary>
/// <param name="Family">NFPROTO_* of its table.</param>
/// <param name="Table">Its table.</param>
/// <param name="Name">Its name.</param>
/// <param name="Type">"filter", "nat" or "route".</param>
/// <param name="Hook">Where it is hooked in.</param>
/// <param name="Priority">Its priority.</param>
/// <param name="IsPolicyDrop">What no rule decides is dropped.</param>
public sealed record NftBaseChainInfo(byte Family, string Table, string Name, string Type, NftHook Hook, int Priority, bool IsPolicyDrop);

/// <summary>Reads what others have made: tables and base chains.</summary>
public static class NftDump
{
    /// <summary>All base chains of all tables.</summary>
    public static IReadOnlyList<NftBaseChainInfo> ListBaseChains(NetworkNamespace? inside = null)
    {
        using var socket = NetlinkSocket.Open(NetlinkProtocol.Netfilter, inside);
        using var request = new NetlinkBatch();
        request.Begin(MessageType(NFT_MSG_GETCHAIN), NLM_F_DUMP, "nft list chains");
        request.Append<nfgenmsg>();
        request.End();
        var found = new List<NftBaseChainInfo>();
        socket.Dump(request, found, static list => list.Clear(), static (_, payload, list) =>
        {
            if (payload.Length < 4) return;
            var (table, name, type, hook, priority, policy) = ("", "", "", -1, 0, 1u);
            for (var attributes = new NetlinkAttributes(payload[4..]); attributes.Next();)
            {
                switch (attributes.Type)
                {
                    case NFTA_CHAIN_TABLE: table = attributes.Text; break;
                    case NFTA_CHAIN_NAME: name = attributes.Text; break;
                    case NFTA_CHAIN_TYPE: type = attributes.Text; break;
                    case NFTA_CHAIN_POLICY: policy = attributes.U32BigEndian; break;
                    case NFTA_CHAIN_HOOK:
                        for (var hooks = new NetlinkAttributes(attributes.Payload); hooks.Next();)
                        {
                            if (hooks.Type == NFTA_HOOK_HOOKNUM) hook = (int)hooks.U32BigEndian;
                            if (hooks.Type == NFTA_HOOK_PRIORITY) priority = (int)hooks.U32BigEndian;
                        }
                        break;
                    default: break;
                }
            }
            if (hook >= 0) list.Add(new NftBaseChainInfo(payload[0], table, name, type, (NftHook)hook, priority, policy == 0));
        });
        return found;
    }

    /// <summary>Handle of a table; null = there is none.</summary>
    internal static ulong? FindTable(NetlinkSocket socket, NftFamily family, string name)
    {
        using var request = new NetlinkBatch();
        request.Begin(MessageType(NFT_MSG_GETTABLE), NLM_F_ACK, "nft get table", name);
        ref var header = ref request.Append<nfgenmsg>();
        header.nfgen_family = (byte)family;
        request.Text(NFTA_TABLE_NAME, name);
        request.End();
        var found = new List<ulong>();
        try
        {
            socket.Dump(request, found, static list => list.Clear(), static (_, payload, list) =>
            {
                for (var attributes = new NetlinkAttributes(payload[4..]); attributes.Next();)
                {
                    if (attributes.Type == NFTA_TABLE_HANDLE) list.Add(attributes.U64BigEndian);
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
