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
        return ListBaseChains(socket);
    }

    internal static IReadOnlyList<NftBaseChainInfo> ListBaseChains(NetlinkSocket socket)
    {
        using var request = new NetlinkBatch();
        request.Begin(MessageType(NFT_MSG_GETCHAIN), NLM_F_DUMP, "nft list chains");
        request.Append<nfgenmsg>();
        request.End();
        var found = new List<NftBaseChainInfo>();
        socket.Dump(request, found, static list => list.Clear(), static (_, payload, list) => ReadBaseChain(payload, list));
        return found;
    }

    /// <summary>Reads a message of a chain; one that is not hooked in is passed over.</summary>
    internal static void ReadBaseChain(ReadOnlySpan<byte> payload, List<NftBaseChainInfo> chains)
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
        if (hook >= 0) chains.Add(new NftBaseChainInfo(payload[0], table, name, type, (NftHook)hook, priority, policy == 0));
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
                if (payload.Length < 4) return;
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

    /// <summary>Keys of a set's elements, with the time that is left to those that leave; none if there is no such set.</summary>
    internal static List<NftElement> ListElements(NetlinkSocket socket, NftFamily family, string table, string set)
    {
        using var request = new NetlinkBatch();
        request.Begin(MessageType(NFT_MSG_GETSETELEM), NLM_F_DUMP, "nft list set", set);
        ref var header = ref request.Append<nfgenmsg>();
        header.nfgen_family = (byte)family;
        request.Text(NFTA_SET_ELEM_LIST_TABLE, table);
        request.Text(NFTA_SET_ELEM_LIST_SET, set);
        request.End();
        var found = new List<NftElement>();
        try
        {
            socket.Dump(request, found, static list => list.Clear(), static (_, payload, list) => ReadElements(payload, list));
        }
        catch (KernelException e) when (e.Errno == Errno.ENOENT)
        {
            found.Clear();
        }
        return found;
    }

    /// <summary>A number that every change of any table in the namespace makes another.</summary>
    internal static uint Generation(NetlinkSocket socket)
    {
        using var request = new NetlinkBatch();
        request.Begin(MessageType(NFT_MSG_GETGEN), NLM_F_ACK, "nft get generation");
        request.Append<nfgenmsg>();
        request.End();
        var found = new List<uint>();
        socket.Dump(request, found, static list => list.Clear(), static (_, payload, list) =>
        {
            if (payload.Length < 4) return;
            for (var attributes = new NetlinkAttributes(payload[4..]); attributes.Next();)
            {
                if (attributes.Type == NFTA_GEN_ID) list.Add(attributes.U32BigEndian);
            }
        });
        return found.Count > 0 ? found[0] : 0;
    }

    /// <summary>How many rules a table has.</summary>
    internal static int CountRules(NetlinkSocket socket, NftFamily family, string table)
    {
        using var request = new NetlinkBatch();
        request.Begin(MessageType(NFT_MSG_GETRULE), NLM_F_DUMP, "nft list rules", table);
        ref var header = ref request.Append<nfgenmsg>();
        header.nfgen_family = (byte)family;
        request.Text(NFTA_RULE_TABLE, table);
        request.End();
        var count = new int[1];
        // Kernels that pass over the filter send other tables' rules too.
        socket.Dump(request, (Count: count, table), static state => state.Count[0] = 0, static (_, payload, state) =>
        {
            if (payload.Length < 4) return;
            for (var attributes = new NetlinkAttributes(payload[4..]); attributes.Next();)
            {
                if (attributes.Type == NFTA_RULE_TABLE && attributes.Text == state.table) state.Count[0]++;
            }
        });
        return count[0];
    }

    /// <summary>Reads a message of elements: nfgenmsg | attributes, of which the list holds an attribute for each element.</summary>
    internal static void ReadElements(ReadOnlySpan<byte> payload, List<NftElement> elements)
    {
        if (payload.Length < 4) return;
        for (var attributes = new NetlinkAttributes(payload[4..]); attributes.Next();)
        {
            if (attributes.Type != NFTA_SET_ELEM_LIST_ELEMENTS) continue;
            for (var list = new NetlinkAttributes(attributes.Payload); list.Next();)
            {
                var (key, expiration) = (default(byte[]), 0ul);
                for (var element = new NetlinkAttributes(list.Payload); element.Next();)
                {
                    if (element.Type == NFTA_SET_ELEM_EXPIRATION) expiration = element.U64BigEndian;
                    if (element.Type != NFTA_SET_ELEM_KEY) continue;
                    for (var data = new NetlinkAttributes(element.Payload); data.Next();)
                    {
                        if (data.Type == NFTA_DATA_VALUE) key = data.Payload.ToArray();
                    }
                }
                if (key is not null) elements.Add(new NftElement(new NftData(key), ExpirationMs: expiration));
            }
        }
    }
}
