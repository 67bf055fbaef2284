using System.Diagnostics;
using System.Net;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.NfTables;
using K3sFast.Interop.Tests.Netlink;

namespace K3sFast.Interop.Tests.NfTables;

/// <summary>What the kernel understood of each step that rules are made of, as nft prints it.</summary>
public sealed class NftGoldenTests
{
    private static readonly NftRule[] s_rules =
    [
        new(new NftMeta(NftMetaKey.TransportProtocol, 0), new NftCompare(0, new NftData(6)), new NftCounter()),
        new(new NftMeta(NftMetaKey.TransportProtocol, 0), new NftCompare(0, new NftData(17)), new NftPayload(NftPayloadBase.Transport, 2, 2, 0), new NftRange(0, NftData.OfPort(53), NftData.OfPort(60))),
        new(new NftPayload(NftPayloadBase.Network, 12, 4, 0), new NftCompare(0, NftData.Of(IPAddress.Parse("10.42.0.5")), IsInverted: true), new NftLimit(10, 5), new NftDecide(NftVerdict.Drop)),
        new(new NftPayload(NftPayloadBase.Network, 16, 4, 0), new NftLookup("s", 0), new NftDecide(NftVerdict.Jump("other"))),
        new(new NftConntrack(NftConntrackKey.State, 0), new NftBitwise(0, NftData.OfHost(NftConntrack.Invalid), NftData.OfHost(0)), new NftCompare(0, NftData.OfHost(0), IsInverted: true), new NftDecide(NftVerdict.Drop)),
        new(new NftAddressKind(IsSource: false, 0), new NftCompare(0, NftData.OfHost(NftAddressKind.Local)), new NftDecide(NftVerdict.Accept)),
        new(new NftWayBack(0), new NftCompare(0, NftData.OfHost(0)), new NftDecide(NftVerdict.Drop)),
        new(new NftMeta(NftMetaKey.Mark, 0), new NftBitwise(0, NftData.OfHost(~0x4000u), NftData.OfHost(0x4000)), new NftMetaSet(NftMetaKey.Mark, 0)),
        new(new NftPayload(NftPayloadBase.Network, 12, 4, 0), new NftRemember("clients", 0, TimeSpan.FromHours(3))),
    ];

    [Fact]
    public void Rules_AsTheKernelHasThem_SayWhatWasMeant()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: makes network namespaces");
        using var inside = RouteSocketTests.Namespaces.Create();
        using var table = new NftTable(NftFamily.IPv4, "t", inside);
        var fragment = new NftFragment();
        fragment.Sets.Add(new NftSet("s", NftType.IPv4Address));
        fragment.Sets.Add(new NftSet("clients", NftType.IPv4Address, null, TimeSpan.FromHours(3), 65536));
        fragment.Chains.Add(new NftChain("other", [new NftRule(new NftReject(NftFamily.IPv4))]));
        fragment.Chains.Add(new NftChain("hooked", s_rules, new NftBaseChain("filter", NftHook.Prerouting, -305)));
        fragment.Chains.Add(new NftChain("source", [new NftRule(new NftMasquerade())], new NftBaseChain("nat", NftHook.Postrouting, 95)));
        fragment.Chains.Add(new NftChain("target",
        [
            new NftRule(new NftMeta(NftMetaKey.TransportProtocol, 0), new NftCompare(0, new NftData(6)), new NftImmediate(0, NftData.Of(IPAddress.Parse("10.42.0.5"))), new NftImmediate(1, NftData.OfPort(8080)),
                new NftTranslate(NftFamily.IPv4, IsSource: false, 0, 1)),
        ], new NftBaseChain("nat", NftHook.Prerouting, -105)));
        fragment.Elements.Add(("s", new NftElement(NftData.Of(IPAddress.Parse("10.43.0.80")))));
        table.Apply([new("", fragment)]);

        var printed = List(inside);
        foreach (var line in (string[])[
            "meta l4proto tcp counter packets 0 bytes 0",
            "udp dport 53-60",
            "ip saddr != 10.42.0.5 limit rate 10/second",
            "ip daddr @s jump other",
            "ct state invalid drop",
            "fib daddr type local accept",
            "fib saddr . iif oif",
            "update @clients { ip saddr timeout 3h }",
            "elements = { 10.43.0.80 }",
            "reject",
            "masquerade fully-random",
            "dnat to 10.42.0.5:8080",
        ])
        {
            Assert.True(printed.Contains(line, StringComparison.Ordinal), $"{line} is not in\n{printed}");
        }
    }

    private static string List(NetworkNamespace inside)
    {
        Process process;
        try
        {
            process = Process.Start(new ProcessStartInfo("nsenter", [$"--net={inside.Path}", "nft", "list", "table", "ip", "t"]) { RedirectStandardOutput = true })!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Skip("needs nsenter and nft");
            return "";
        }
        using (process)
        {
            var text = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return text;
        }
    }
}
