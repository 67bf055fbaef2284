using System.Net;
using K3sFast.Interop.NfTables;
using K3sFast.Interop.Tests.Netlink;

namespace K3sFast.Interop.Tests.NfTables;

public sealed class NftTableTests
{
    private static readonly NftElement s_one = Element(1, "a"), s_oneElsewhere = Element(1, "b"), s_two = Element(2, "a");

    [Fact]
    public void Apply_SameAgain_SendsNothing()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.IPv4, "t", inside);
        table.Apply([new("", Base()), new("x", Fragment("x", s_one))]);
        Assert.Equal(0, table.Encode([new("x", Fragment("x", s_one))]));
        Assert.NotEqual(0, table.Encode([new("x", Fragment("x", s_two))]));
    }

    [Fact]
    public void Apply_SizeOfChange_DoesNotDependOnOtherOwners()
    {
        using var small = new NftTable(NftFamily.IPv4, "t");
        using var big = new NftTable(NftFamily.IPv4, "t");
        small.Encode([new("", Base()), .. Many(10)]);
        big.Encode([new("", Base()), .. Many(10_000)]);

        KeyValuePair<string, NftFragment?>[] change = [new("5", Balanced(5, 3))];
        var size = small.Encode(change);

        Assert.InRange(size, 1, 2048);
        Assert.Equal(size, big.Encode(change));
    }

    [Fact]
    public void Apply_RefusedTransaction_ChangesNothingAndNextOneRepairs()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.IPv4, "t", inside);
        table.Apply([new("", Base()), new("x", Fragment("x", s_one))]);

        var bad = new NftFragment();
        bad.Chains.Add(new NftChain("bad", [new NftRule(new NftDecide(NftVerdict.Goto("nowhere")))]));
        var refusal = Assert.Throws<KernelException>(() => table.Apply([new("x", Fragment("x", s_two)), new("bad", bad)]));
        Assert.Equal(("nft add rule to bad", Errno.ENOENT), (refusal.Operation, refusal.Errno));
        Assert.Throws<KernelException>(() => table.Verify());

        table.Apply([new("bad", null)]);
        Assert.False(table.Verify());
    }

    [Fact]
    public void Elements_TwoOwnersOfOneKey_FirstStandsAndSecondTakesOver()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.IPv4, "t", inside);
        table.Apply([new("", Base()), new("x", Fragment("x", s_one)), new("y", Fragment("y", s_oneElsewhere))]);

        // The kernel would refuse a second element of the same key (EEXIST) or the removal of one that is not there (ENOENT).
        table.Apply([new("x", null)]);
        table.Apply([new("x", Fragment("x", s_one))]);
        table.Apply([new("y", null)]);
        table.Apply([new("x", Fragment("x", s_two))]);
        table.Apply([new("y", Fragment("y", s_one)), new("x", null)]);
        table.Apply([new("y", Fragment("y", s_oneElsewhere))]);
        Assert.False(table.Verify());
    }

    [Fact]
    public void Chains_RemovedWhileOthersPointElsewhere_GoInOrder()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.IPv4, "t", inside);
        NftFragment Chain(params string[] names)
        {
            var fragment = new NftFragment();
            for (var i = 0; i < names.Length; i++)
            {
                fragment.Chains.Add(new NftChain(names[i], i + 1 < names.Length ? [new NftRule(new NftDecide(NftVerdict.Jump(names[i + 1])))] : []));
            }
            return fragment;
        }
        table.Apply([new("", Base()), new("x", Chain("p", "q", "r"))]);
        table.Apply([new("x", Chain("p", "s"))]);
        table.Apply([new("x", Chain("s", "p"))]);
        table.Apply([new("x", null)]);
        Assert.False(table.Verify());
    }

    [Fact]
    public void Remove_TableOrNothing_IsFine()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.Inet, "t", inside);
        table.Remove();
        Assert.False(table.Exists());
        table.Apply([new("", Base())]);
        Assert.True(table.Exists());
        table.Remove();
        Assert.False(table.Exists());
    }

    [Fact]
    public void ListBaseChains_ForeignPolicy_IsSeen()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.Inet, "t", inside);
        var fragment = new NftFragment();
        fragment.Chains.Add(new NftChain("c", [new NftRule(new NftCounter(), new NftLimit(10, 5), new NftDecide(NftVerdict.Drop))], new NftBaseChain("filter", NftHook.Forward, -5)));
        fragment.Chains.Add(new NftChain("r", [
            new NftRule(new NftMeta(NftMetaKey.TransportProtocol, 0), new NftCompare(0, new NftData(6)), new NftImmediate(0, NftData.OfPort(80)), new NftRedirect(0)),
        ], new NftBaseChain("nat", NftHook.Prerouting, -100)));
        table.Apply([new("", fragment)]);

        var chains = NftDump.ListBaseChains(inside);

        Assert.Contains(new NftBaseChainInfo(1, "t", "c", "filter", NftHook.Forward, -5, false), chains);
        Assert.Equal(2, chains.Count);
    }

    [Fact]
    public void Batch_OneRule_IsExactlyTheseBytes()
    {
        using var batch = new NftBatch(NftFamily.IPv4, "t");
        batch.AddRule("c", new NftRule(new NftMeta(NftMetaKey.Mark, 0), new NftDecide(NftVerdict.Goto("d"))));
        batch.Finish();

        Assert.Equal(
            "14000000" + "1000" + "0100" + "01000000" + "00000000" + "0000000a" // BATCH_BEGIN, subsystem 10
            + "84000000" + "060a" + "050c" + "02000000" + "00000000" + "02000000" // NEWRULE, REQUEST|ACK|CREATE|APPEND, NFPROTO_IPV4
            + "0600" + "0100" + "74000000" + "0600" + "0200" + "63000000" // table t, chain c
            + "6000" + "0480" // expressions
            + "2400" + "0180" + "0900" + "0100" + "6d65746100000000" + "1400" + "0280" + "0800" + "0200" + "00000003" + "0800" + "0100" + "00000008"
            + "3800" + "0180" + "0e00" + "0100" + "696d6d656469617465000000" + "2400" + "0280" + "0800" + "0100" + "00000000"
            + "1800" + "0280" + "1400" + "0280" + "0800" + "0100" + "fffffffc" + "0600" + "0200" + "64000000"
            + "14000000" + "1100" + "0100" + "03000000" + "00000000" + "0000000a",
            Convert.ToHexStringLower(batch.Messages.Written));
    }

    [Fact]
    public void Concat_Parts_AreFilledToFourBytes() =>
        Assert.Equal("0a2b00500600000000500000", NftData.Concat(NftData.Of(IPAddress.Parse("10.43.0.80")), new NftData(6), NftData.OfPort(80)).ToString());

    private static IEnumerable<KeyValuePair<string, NftFragment?>> Many(int count) =>
        Enumerable.Range(1, count).Select(i => new KeyValuePair<string, NftFragment?>($"{i}", Balanced(i, 2)));

    private static NftFragment Balanced(int number, int endpoints)
    {
        var fragment = new NftFragment();
        var elements = Enumerable.Range(0, endpoints)
            .Select(i => new NftElement(NftData.OfHost((uint)i), NftData.Concat(new NftData(10, 42, 0, (byte)i), NftData.OfPort(80)))).ToList();
        var map = new NftAnonymousMap(NftType.Number, NftType.Concat(NftType.IPv4Address, NftType.Port), elements);
        fragment.Chains.Add(new NftChain($"chain{number:D5}", [new NftRule(new NftRandom(0, endpoints), new NftLookup("", 0, 0, map), new NftTranslate(NftFamily.IPv4, false, 0, 1))]));
        fragment.Elements.Add(("map", new NftElement(NftData.OfHost((uint)number), Verdict: NftVerdict.Goto($"chain{number:D5}"))));
        return fragment;
    }

    private static NftFragment Base()
    {
        var fragment = new NftFragment();
        fragment.Sets.Add(new NftSet("map", NftType.Number, NftType.Verdict));
        fragment.Chains.Add(new NftChain("a", []));
        fragment.Chains.Add(new NftChain("b", []));
        return fragment;
    }

    private static NftFragment Fragment(string chain, params NftElement[] elements)
    {
        var fragment = new NftFragment();
        fragment.Chains.Add(new NftChain("own-" + chain, [new NftRule(new NftCounter())]));
        foreach (var element in elements) fragment.Elements.Add(("map", element));
        return fragment;
    }

    private static NftElement Element(uint key, string chain) => new(NftData.OfHost(key), Verdict: NftVerdict.Goto(chain));
}
