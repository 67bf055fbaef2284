using System.Net;
using System.Text;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.NfTables;
using K3sFast.Interop.Tests.Netlink;

namespace K3sFast.Interop.Tests.NfTables;

/// <summary>What the kernel understood of tables, chains, sets and each step that rules are made of, as nft prints it.</summary>
public sealed class NftGoldenTests
{
    private static readonly NftPayload s_source = new(NftPayloadBase.Network, 12, 4, 0), s_destination = new(NftPayloadBase.Network, 16, 4, 0);
    private static readonly NftExpression[] s_isTcp = [new NftMeta(NftMetaKey.TransportProtocol, 0), new NftCompare(0, new NftData(6))];
    private static readonly NftData s_pod = NftData.Of(IPAddress.Parse("10.42.0.5"));
    private static readonly NftAnonymousMap s_choices = new(NftType.Number, NftType.Concat(NftType.IPv4Address, NftType.Port),
    [
        new NftElement(NftData.OfHost(0), NftData.Concat(s_pod, NftData.OfPort(8080))), new NftElement(NftData.OfHost(1), NftData.Concat(NftData.Of(IPAddress.Parse("10.42.0.6")), NftData.OfPort(8081))),
    ]);

    // Where the rule stands, the rule, and the words for it.
    private static readonly (string Chain, NftRule Rule, string Words)[] s_rules =
    [
        ("hooked", new([.. s_isTcp, new NftCounter()]), "meta l4proto tcp counter packets 0 bytes 0"),
        ("hooked", new(new NftMeta(NftMetaKey.TransportProtocol, 0), new NftCompare(0, new NftData(17)), new NftPayload(NftPayloadBase.Transport, 2, 2, 0), new NftRange(0, NftData.OfPort(53), NftData.OfPort(60))), "udp dport 53-60"),
        ("hooked", new(s_source, new NftCompare(0, s_pod, IsInverted: true), new NftLimit(10, 5), new NftDecide(NftVerdict.Drop)), "ip saddr != 10.42.0.5 limit rate 10/second"),
        ("hooked", new(new NftLimit(10, 20, 60), new NftDecide(new NftVerdict(NftVerdictCode.Return))), "limit rate 10/minute burst 20 packets return"),
        ("hooked", new(s_source, new NftBitwise(0, new NftData(255, 255, 0, 0), new NftData(0, 0, 0, 0)), new NftCompare(0, new NftData(10, 42, 0, 0)), new NftDecide(NftVerdict.Goto("other"))), "ip saddr 10.42.0.0/16 goto other"),
        ("hooked", new(s_destination, new NftLookup("s", 0), new NftDecide(NftVerdict.Jump("other"))), "ip daddr @s jump other"),
        ("hooked", new(s_destination, new NftLookup("s", 0, IsInverted: true), new NftCounter()), "ip daddr != @s counter"),
        ("hooked", new(s_destination, new NftLookup("v", 0, IsVerdictMap: true)), "ip daddr vmap @v"),
        ("hooked", new(new NftMeta(NftMetaKey.InputName, 0), new NftCompare(0, new NftData(Encoding.ASCII.GetBytes("k3sf"))), new NftCounter()), "iifname \"k3sf*\" counter"),
        ("other", new(new NftMeta(NftMetaKey.OutputName, 0), new NftCompare(0, new NftData(Encoding.ASCII.GetBytes("eth0\0\0\0\0\0\0\0\0\0\0\0\0"))), new NftCounter()), "oifname \"eth0\" counter"),
        ("hooked", new(new NftConntrack(NftConntrackKey.State, 0), new NftBitwise(0, NftData.OfHost(NftConntrack.Invalid), NftData.OfHost(0)), new NftCompare(0, NftData.OfHost(0), IsInverted: true), new NftDecide(NftVerdict.Drop)), "ct state invalid drop"),
        ("hooked", new(new NftConntrack(NftConntrackKey.Status, 0), new NftBitwise(0, NftData.OfHost(NftConntrack.DestinationTranslated), NftData.OfHost(0)), new NftCompare(0, NftData.OfHost(0), IsInverted: true), new NftCounter()), "ct status dnat counter"),
        ("hooked", new(new NftAddressKind(IsSource: false, 0), new NftCompare(0, NftData.OfHost(NftAddressKind.Local)), new NftDecide(NftVerdict.Accept)), "fib daddr type local accept"),
        ("hooked", new(new NftWayBack(0), new NftCompare(0, NftData.OfHost(0)), new NftDecide(NftVerdict.Drop)), "fib saddr . iif oif"),
        ("hooked", new(new NftMeta(NftMetaKey.Mark, 0), new NftBitwise(0, NftData.OfHost(~0x4000u), NftData.OfHost(0x4000)), new NftMetaSet(NftMetaKey.Mark, 0)), "meta mark set meta mark"),
        ("hooked", new(s_source, new NftRemember("clients", 0, TimeSpan.FromHours(3))), "update @clients { ip saddr timeout 3h }"),
        ("other", new(new NftReject(NftFamily.IPv4)), "reject"),
        ("source", new([s_source, new NftCompare(0, s_pod), new NftImmediate(0, NftData.Of(IPAddress.Parse("192.0.2.1"))), new NftTranslate(NftFamily.IPv4, IsSource: true, 0, null)]), "ip saddr 10.42.0.5 snat to 192.0.2.1"),
        ("source", new(new NftMasquerade()), "masquerade fully-random"),
        ("target", new([.. s_isTcp, new NftImmediate(0, s_pod), new NftImmediate(1, NftData.OfPort(8080)), new NftTranslate(NftFamily.IPv4, IsSource: false, 0, 1)]), "dnat to 10.42.0.5:8080"),
        ("target", new([.. s_isTcp, new NftRandom(0, 2), new NftLookup("", 0, 0, s_choices), new NftTranslate(NftFamily.IPv4, IsSource: false, 0, 1)]), "numgen random mod 2 map { 0 : 10.42.0.5 . 8080, 1 : 10.42.0.6 . 8081 }"),
        ("target", new([.. s_isTcp, new NftImmediate(0, NftData.OfPort(9090)), new NftRedirect(0)]), "redirect to :9090"),
    ];

    [Fact]
    public void Rules_AsTheKernelHasThem_SayWhatWasMeant()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.IPv4, "t", inside);
        table.Apply([new("", Whole())]);
        var printed = Witness.Run(inside, "nft", "list", "table", "ip", "t");
        foreach (var (_, _, words) in s_rules) Assert.True(printed.Contains(words, StringComparison.Ordinal), $"{words} is not in\n{printed}");
        // The log needs a module that not every kernel has.
        try
        {
            var fragment = new NftFragment();
            fragment.Chains.Add(new NftChain("told", [new NftRule(new NftLog(100, "not let in by x/y"))]));
            table.Apply([new("log", fragment)]);
            Assert.Contains("log prefix \"not let in by x/y\" group 100", Witness.Run(inside, "nft", "list", "table", "ip", "t"), StringComparison.Ordinal);
        }
        catch (KernelException e) when (e.Errno is Errno.ENOENT or Errno.EOPNOTSUPP)
        {
            TestContext.Current.TestOutputHelper?.WriteLine("this kernel has no netfilter log");
        }
    }

    [Fact]
    public void Rules_OfTheTable_HaveEveryStepThatThereIs()
    {
        var used = s_rules.SelectMany(static rule => rule.Rule.Expressions).Select(static step => step.GetType()).Append(typeof(NftLog)).ToHashSet();
        Assert.Equal(typeof(NftExpression).Assembly.GetTypes().Where(static type => type.IsSubclassOf(typeof(NftExpression))).ToHashSet(), used);
    }

    [Fact]
    public void ChainsSetsAndElements_EveryAttribute_AreAsAsked()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.IPv4, "t", inside);
        table.Apply([new("", Whole())]);
        var all = System.Text.Json.Nodes.JsonNode.Parse(Witness.Run(inside, "nft", "-j", "list", "ruleset"))!["nftables"]!.AsArray();
        Witness.Has(all, """{"table":{"family":"ip","name":"t"}}""");
        Witness.Has(all, """{"chain":{"family":"ip","table":"t","name":"hooked","type":"filter","hook":"prerouting","prio":-305,"policy":"accept"}}""");
        Witness.Has(all, """{"chain":{"name":"source","type":"nat","hook":"postrouting","prio":95,"policy":"accept"}}""");
        Witness.Has(all, """{"chain":{"name":"target","type":"nat","hook":"prerouting","prio":-105,"policy":"accept"}}""");
        Witness.Has(all, """{"set":{"name":"s","type":"ipv4_addr","elem":["10.43.0.80"]}}""");
        Witness.Has(all, """{"set":{"name":"clients","type":"ipv4_addr","size":65536,"timeout":10800}}""");
        Assert.Contains("flags dynamic,timeout", Witness.Run(inside, "nft", "list", "set", "ip", "t", "clients"), StringComparison.Ordinal);
        Witness.Has(all, """{"map":{"name":"v","type":"ipv4_addr","map":"verdict","elem":[["10.43.0.81",{"goto":{"target":"other"}}],["10.43.0.82",{"drop":null}]]}}""");
        Witness.Has(all, """{"map":{"name":"ports","type":["ipv4_addr","inet_proto","inet_service"],"map":"ipv4_addr","elem":[[{"concat":["10.43.0.80","tcp",443]},"10.42.0.5"]]}}""");
        Assert.Contains("comment \"x/y\"", Witness.Run(inside, "nft", "list", "chain", "ip", "t", "other"), StringComparison.Ordinal);

        // Taken away in the same way, one kind after the other.
        var rest = Whole();
        rest.Elements.RemoveAll(static element => element.Set is "s" or "ports");
        table.Apply([new("", rest)]);
        all = System.Text.Json.Nodes.JsonNode.Parse(Witness.Run(inside, "nft", "-j", "list", "ruleset"))!["nftables"]!.AsArray();
        Assert.DoesNotContain(all, static entry => (string?)entry!["set"]?["name"] == "s" && entry["set"]!["elem"] is not null);
        Assert.DoesNotContain(all, static entry => (string?)entry!["map"]?["name"] == "ports" && entry["map"]!["elem"] is not null);
        table.Apply([new("", new NftFragment())]);
        Assert.Equal("table ip t {\n}\n", Witness.Run(inside, "nft", "list", "ruleset"));
        table.Remove();
        Assert.Equal("", Witness.Run(inside, "nft", "list", "ruleset"));
    }

    [Fact]
    public void Rules_OfIPv6_SayWhatWasMeant()
    {
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.IPv6, "t", inside);
        var fragment = new NftFragment();
        var pod = NftData.Of(IPAddress.Parse("fd00:42::5"));
        fragment.Sets.Add(new NftSet("s", NftType.IPv6Address));
        fragment.Elements.Add(("s", new NftElement(pod)));
        fragment.Chains.Add(new NftChain("other", [new NftRule(new NftPayload(NftPayloadBase.Network, 24, 16, 0), new NftLookup("s", 0), new NftReject(NftFamily.IPv6))]));
        fragment.Chains.Add(new NftChain("target", [new NftRule([.. s_isTcp, new NftImmediate(0, pod), new NftImmediate(4, NftData.OfPort(8080)), new NftTranslate(NftFamily.IPv6, IsSource: false, 0, 4)])], new NftBaseChain("nat", NftHook.Prerouting, -105)));
        table.Apply([new("", fragment)]);
        var printed = Witness.Run(inside, "nft", "list", "table", "ip6", "t");
        foreach (var words in (string[])["ip6 daddr @s reject", "elements = { fd00:42::5 }", "dnat to [fd00:42::5]:8080"]) Assert.Contains(words, printed, StringComparison.Ordinal);
    }

    private static NftFragment Whole()
    {
        var fragment = new NftFragment();
        fragment.Sets.Add(new NftSet("s", NftType.IPv4Address));
        fragment.Sets.Add(new NftSet("v", NftType.IPv4Address, NftType.Verdict));
        fragment.Sets.Add(new NftSet("ports", NftType.Concat(NftType.IPv4Address, NftType.Protocol, NftType.Port), NftType.IPv4Address));
        fragment.Sets.Add(new NftSet("clients", NftType.IPv4Address, null, TimeSpan.FromHours(3), 65536));
        NftRule[] Of(string chain) => [.. s_rules.Where(rule => rule.Chain == chain).Select(static rule => rule.Rule)];
        fragment.Chains.Add(new NftChain("other", Of("other")) { Comment = "x/y" });
        fragment.Chains.Add(new NftChain("hooked", Of("hooked"), new NftBaseChain("filter", NftHook.Prerouting, -305)));
        fragment.Chains.Add(new NftChain("source", Of("source"), new NftBaseChain("nat", NftHook.Postrouting, 95)));
        fragment.Chains.Add(new NftChain("target", Of("target"), new NftBaseChain("nat", NftHook.Prerouting, -105)));
        fragment.Elements.Add(("s", new NftElement(NftData.Of(IPAddress.Parse("10.43.0.80")))));
        fragment.Elements.Add(("v", new NftElement(NftData.Of(IPAddress.Parse("10.43.0.81")), Verdict: NftVerdict.Goto("other"))));
        fragment.Elements.Add(("v", new NftElement(NftData.Of(IPAddress.Parse("10.43.0.82")), Verdict: NftVerdict.Drop)));
        fragment.Elements.Add(("ports", new NftElement(NftData.Concat(NftData.Of(IPAddress.Parse("10.43.0.80")), new NftData(6), NftData.OfPort(443)), s_pod)));
        return fragment;
    }
}
