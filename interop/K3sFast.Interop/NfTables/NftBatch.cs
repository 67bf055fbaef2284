using System.Buffers.Binary;
using K3sFast.Interop.Netlink;
using static K3sFast.Interop.Netlink.NetlinkConstants;
using static K3sFast.Interop.NfTables.NftConstants;

namespace K3sFast.Interop.NfTables;

/// <summary>
/// A transaction on one table, written as nfnetlink wants it: <c>BATCH_BEGIN, changes..., BATCH_END</c>. The kernel makes all of it true at one
/// instant for every packet, or nothing. Only the last change asks for an acknowledgement; a refused one is reported anyway.
/// </summary>
/// <remarks>One thread.</remarks>
internal sealed class NftBatch : IDisposable
{
    // An attribute's length has 16 bits: elements are cut into lists well below that. Names make an element at most 300 bytes long.
    private const int MaxListBytes = 60_000;

    // NFTNL_UDATA_COMMENT_MAXLEN of libnftnl, the final zero included.
    private const int MaxCommentBytes = 128;

    private readonly NftFamily _family;
    private readonly string _table;
    private int _last = -1;
    private uint _nextSetId = 1;

    internal NftBatch(NftFamily family, string table)
    {
        (_family, _table) = (family, table);
        Start();
    }

    /// <summary>The messages.</summary>
    internal NetlinkBatch Messages { get; } = new();

    /// <summary>True while nothing was written into it.</summary>
    internal bool IsEmpty => _last < 0;

    public void Dispose() => Messages.Dispose();

    /// <summary>Empties it for the next transaction.</summary>
    internal void Clear()
    {
        Messages.Clear();
        (_last, _nextSetId) = (-1, 1);
        Start();
    }

    /// <summary>Closes the transaction: send <see cref="Messages"/> with <see cref="NetlinkSocket.ExecuteTransaction"/>.</summary>
    internal void Finish()
    {
        Messages.FlagLast(_last, NLM_F_ACK);
        Frame(NFNL_MSG_BATCH_END, "end nft batch");
    }

    internal void AddTable()
    {
        Begin(NFT_MSG_NEWTABLE, NLM_F_CREATE, "nft add table", _table);
        Messages.Text(NFTA_TABLE_NAME, _table);
        Messages.End();
    }

    internal void DeleteTable()
    {
        Begin(NFT_MSG_DELTABLE, 0, "nft delete table", _table);
        Messages.Text(NFTA_TABLE_NAME, _table);
        Messages.End();
    }

    internal void AddChain(NftChain chain)
    {
        Begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE, "nft add chain", chain.Name);
        Messages.Text(NFTA_CHAIN_TABLE, _table);
        Messages.Text(NFTA_CHAIN_NAME, chain.Name);
        if (chain.Base is { } hooked)
        {
            Messages.Text(NFTA_CHAIN_TYPE, hooked.Type);
            var hook = Messages.BeginNested(NFTA_CHAIN_HOOK);
            Messages.U32BigEndian(NFTA_HOOK_HOOKNUM, (uint)hooked.Hook);
            Messages.U32BigEndian(NFTA_HOOK_PRIORITY, (uint)hooked.Priority);
            Messages.EndNested(hook);
            Messages.U32BigEndian(NFTA_CHAIN_POLICY, 1);
        }
        if (chain.Comment.Length > 0) WriteComment(chain.Comment);
        Messages.End();
    }

    // libnftnl's user data (udata.h): NFTNL_UDATA_CHAIN_COMMENT (0), length, text with its final zero.
    private void WriteComment(string comment)
    {
        Span<byte> data = stackalloc byte[2 + MaxCommentBytes];
        System.Text.Encoding.UTF8.TryGetBytes(comment.AsSpan(0, Math.Min(comment.Length, MaxCommentBytes - 1)), data[2..^1], out var length);
        (data[0], data[1], data[2 + length]) = (0, (byte)(length + 1), 0);
        Messages.Bytes(NFTA_CHAIN_USERDATA, data[..(length + 3)]);
    }

    internal void FlushChain(string chain)
    {
        Begin(NFT_MSG_DELRULE, 0, "nft flush chain", chain);
        Messages.Text(NFTA_RULE_TABLE, _table);
        Messages.Text(NFTA_RULE_CHAIN, chain);
        Messages.End();
    }

    internal void DeleteChain(string chain)
    {
        Begin(NFT_MSG_DELCHAIN, 0, "nft delete chain", chain);
        Messages.Text(NFTA_CHAIN_TABLE, _table);
        Messages.Text(NFTA_CHAIN_NAME, chain);
        Messages.End();
    }

    /// <summary>Appends a rule; anonymous maps that it looks into come before it.</summary>
    internal void AddRule(string chain, NftRule rule)
    {
        var firstSetId = _nextSetId;
        foreach (var expression in rule.Expressions)
        {
            if (expression is NftLookup { Anonymous: { } map }) AddAnonymousMap(map);
        }
        Begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, "nft add rule to", chain);
        Messages.Text(NFTA_RULE_TABLE, _table);
        Messages.Text(NFTA_RULE_CHAIN, chain);
        var list = Messages.BeginNested(NFTA_RULE_EXPRESSIONS);
        foreach (var expression in rule.Expressions)
        {
            if (expression is NftLookup { Anonymous: not null } lookup)
            {
                var element = Messages.BeginNested(NFTA_LIST_ELEM);
                Messages.Text(NFTA_EXPR_NAME, lookup.Name);
                var data = Messages.BeginNested(NFTA_EXPR_DATA);
                lookup.Write(Messages, AnonymousName, firstSetId++);
                Messages.EndNested(data);
                Messages.EndNested(element);
                continue;
            }
            expression.WriteElement(Messages);
        }
        Messages.EndNested(list);
        Messages.End();
    }

    internal void AddSet(NftSet set)
    {
        var flags = (set.Data is null ? 0 : NFT_SET_MAP) | (set.Timeout > TimeSpan.Zero ? NFT_SET_TIMEOUT | NFT_SET_EVAL : 0);
        BeginSet(set.Name, set.Key, set.Data, flags, _nextSetId++, set.MaxElements);
        if (set.Timeout > TimeSpan.Zero) Messages.U64BigEndian(NFTA_SET_TIMEOUT, (ulong)set.Timeout.TotalMilliseconds);
        Messages.End();
    }

    internal void DeleteSet(string set)
    {
        Begin(NFT_MSG_DELSET, 0, "nft delete set", set);
        Messages.Text(NFTA_SET_TABLE, _table);
        Messages.Text(NFTA_SET_NAME, set);
        Messages.End();
    }

    internal void AddElements(string set, IReadOnlyList<NftElement> elements) => Elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, "nft add element to", set, 0, elements);

    internal void DeleteElements(string set, IReadOnlyList<NftElement> elements) => Elements(NFT_MSG_DELSETELEM, 0, "nft delete element of", set, 0, elements);

    // The kernel puts a number in place of %d.
    private const string AnonymousName = "__map%d";

    private void AddAnonymousMap(NftAnonymousMap map)
    {
        var id = _nextSetId++;
        BeginSet(AnonymousName, map.Key, map.Data, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_MAP, id, map.Elements.Count);
        // libnftnl's user data (udata.h): key byte order (0), 4 bytes, host order (1). Tells nft list how to print generated numbers.
        if (map.Key == NftType.Number) Messages.Bytes(NFTA_SET_USERDATA, [0, 4, 1, 0, 0, 0]);
        Messages.End();
        Elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, "nft add element to", AnonymousName, id, map.Elements);
    }

    private void BeginSet(string name, NftType key, NftType? data, uint flags, uint id, int size)
    {
        Begin(NFT_MSG_NEWSET, NLM_F_CREATE, "nft add set", name);
        Messages.Text(NFTA_SET_TABLE, _table);
        Messages.Text(NFTA_SET_NAME, name);
        Messages.U32BigEndian(NFTA_SET_ID, id);
        Messages.U32BigEndian(NFTA_SET_FLAGS, flags);
        Messages.U32BigEndian(NFTA_SET_KEY_TYPE, key.Id);
        Messages.U32BigEndian(NFTA_SET_KEY_LEN, (uint)key.Length);
        if (data is { } type)
        {
            Messages.U32BigEndian(NFTA_SET_DATA_TYPE, type.Id);
            Messages.U32BigEndian(NFTA_SET_DATA_LEN, (uint)type.Length);
        }
        if (size == 0) return;
        var description = Messages.BeginNested(NFTA_SET_DESC);
        Messages.U32BigEndian(NFTA_SET_DESC_SIZE, (uint)size);
        Messages.EndNested(description);
    }

    private void Elements(byte message, ushort flags, string operation, string set, uint setId, IReadOnlyList<NftElement> elements)
    {
        for (var next = 0; next < elements.Count;)
        {
            Begin(message, flags, operation, set);
            Messages.Text(NFTA_SET_ELEM_LIST_TABLE, _table);
            Messages.Text(NFTA_SET_ELEM_LIST_SET, set);
            if (setId != 0) Messages.U32BigEndian(NFTA_SET_ELEM_LIST_SET_ID, setId);
            var list = Messages.BeginNested(NFTA_SET_ELEM_LIST_ELEMENTS);
            for (; next < elements.Count && Messages.NestedLength(list) < MaxListBytes; next++) Element(elements[next]);
            Messages.EndNested(list);
            Messages.End();
        }
    }

    private void Element(in NftElement element)
    {
        var nested = Messages.BeginNested(NFTA_LIST_ELEM);
        NftExpression.WriteValue(Messages, NFTA_SET_ELEM_KEY, element.Key);
        if (element.Verdict is { } verdict) NftExpression.WriteVerdict(Messages, NFTA_SET_ELEM_DATA, verdict);
        else if (element.Data.Bytes.Length > 0) NftExpression.WriteValue(Messages, NFTA_SET_ELEM_DATA, element.Data);
        if (element.ExpirationMs > 0) Messages.U64BigEndian(NFTA_SET_ELEM_EXPIRATION, element.ExpirationMs);
        Messages.EndNested(nested);
    }

    private void Begin(byte message, ushort flags, string operation, string subject)
    {
        _last = Messages.Length;
        Messages.Begin(MessageType(message), flags, operation, subject);
        ref var header = ref Messages.Append<nfgenmsg>();
        header.nfgen_family = (byte)_family;
    }

    private void Start() => Frame(NFNL_MSG_BATCH_BEGIN, "begin nft batch");

    private void Frame(ushort type, string operation)
    {
        Messages.Begin(type, 0, operation);
        ref var header = ref Messages.Append<nfgenmsg>();
        header.res_id = BinaryPrimitives.ReverseEndianness((ushort)NFNL_SUBSYS_NFTABLES);
        Messages.End();
    }
}
