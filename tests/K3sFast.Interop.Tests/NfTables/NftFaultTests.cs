using K3sFast.Interop.Namespaces;
using K3sFast.Interop.NfTables;
using K3sFast.Interop.Tests.Netlink;

namespace K3sFast.Interop.Tests.NfTables;

/// <summary>Others at work in a table of ours between two of our changes: the change is refused whole, and the next look makes all right.</summary>
public sealed class NftFaultTests
{
    [Theory]
    [InlineData("add rule ip t keep jump go", Errno.EBUSY)] // points at a chain that is to go
    [InlineData("add rule ip t keep ip daddr @set-go drop", Errno.EBUSY)] // looks into a set that is to go
    [InlineData("add element ip t verdicts { 2 : goto keep }", Errno.EEXIST)] // says something else for a key that is to come
    [InlineData("delete element ip t verdicts { 1 : goto keep }", Errno.ENOENT)] // took what is to go
    [InlineData("delete table ip t", Errno.ENOENT)]
    public void Apply_OthersInTheWay_IsRefusedWholeAndPutRightAtTheNextLook(string foreign, int errno)
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.IPv4, "t", inside);
        table.Apply([new("", Base()), new("go", Owner("go", 1))]);
        Witness.Run(inside, ["nft", .. foreign.Split(' ')]);
        var before = Witness.Run(inside, "nft", "list", "ruleset");

        var refusal = Assert.Throws<KernelException>(() => table.Apply([new("go", null), new("come", Owner("come", 2))]));
        Assert.Equal(errno, refusal.Errno);
        Assert.Equal(before, Witness.Run(inside, "nft", "list", "ruleset"));

        Assert.True(table.Verify());
        var after = Witness.Run(inside, "nft", "list", "ruleset");
        Assert.Contains("chain come", after, StringComparison.Ordinal);
        Assert.Contains("elements = { 2 : goto come }", after, StringComparison.Ordinal);
        Assert.DoesNotContain("go {", after, StringComparison.Ordinal);
        Assert.DoesNotContain("set-go", after, StringComparison.Ordinal);
        Assert.False(table.Verify());
    }

    [Fact]
    public void Apply_OtherTablesChangeMeanwhile_NeitherMindsTheOther()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.IPv4, "t", inside);
        table.Apply([new("", Base())]);
        using var stop = new CancellationTokenSource();
        var failure = default(Exception);
        var other = new Thread(() =>
        {
            try
            {
                using var theirs = new NftTable(NftFamily.IPv4, "theirs", inside);
                for (var i = 0u; !stop.IsCancellationRequested; i++) theirs.Apply([new("", Base()), new("x", Owner("x", i % 7))]);
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        other.Start();
        for (var i = 0u; i < 100; i++) table.Apply([new("x", Owner("x", i))]);
        stop.Cancel();
        other.Join();
        Assert.Null(failure);
        Assert.False(table.Verify());
    }

    private static NftFragment Base()
    {
        var fragment = new NftFragment();
        fragment.Sets.Add(new NftSet("verdicts", NftType.Port, NftType.Verdict));
        fragment.Chains.Add(new NftChain("keep", []));
        return fragment;
    }

    private static NftFragment Owner(string name, uint key)
    {
        var fragment = new NftFragment();
        fragment.Sets.Add(new NftSet("set-" + name, NftType.IPv4Address));
        fragment.Chains.Add(new NftChain(name, [new NftRule(new NftCounter())]));
        fragment.Elements.Add(("verdicts", new NftElement(NftData.OfPort((ushort)key), Verdict: NftVerdict.Goto(name))));
        return fragment;
    }
}
