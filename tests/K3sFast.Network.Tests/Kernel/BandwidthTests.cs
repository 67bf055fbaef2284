using System.Net.Sockets;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Cni;

namespace K3sFast.Network.Tests.Kernel;

public sealed class BandwidthTests
{
    // 100 KB/s and a burst of 64 KiB: what is sent in a second by an unlimited veth pair would take hours.
    private const string Slow = "\"bandwidth\":{\"ingressRate\":800000,\"ingressBurst\":4294967295,\"egressRate\":800000,\"egressBurst\":4294967295}";

    [Fact]
    public async Task ADD_Bandwidth_HoldsThePodToItBothWays()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        var (limited, free) = (Add(node, "limited", Slow), Add(node, "free", ""));
        var link = PodAttachment.LinkNameOf("limited", "eth0");
        var shaper = node.Host.FindLink(PodAttachment.ShaperNameOf(link));
        Assert.Equal("ifb", shaper?.Kind);
        Assert.Contains("tbf", Tc(node, "qdisc", "show", "dev", link), StringComparison.Ordinal);
        Assert.Contains("rate 800Kbit burst 64Kb lat 25ms", Tc(node, "qdisc", "show", "dev", shaper!.Name), StringComparison.Ordinal);
        Assert.Contains($"mirred (Egress Redirect to device {shaper.Name}) stolen", Tc(node, "filter", "show", "dev", link, "ingress"), StringComparison.Ordinal);
        Assert.DoesNotContain("tbf", Tc(node, "qdisc", "show", "dev", PodAttachment.LinkNameOf("free", "eth0")), StringComparison.Ordinal);

        // What the buckets counted is what a limit is: bytes went through them, and some had to wait or were dropped.
        await SendAsync(limited, free, 300_000);
        await SendAsync(free, limited, 300_000);
        Assert.True(Overlimits(Tc(node, "-s", "qdisc", "show", "dev", shaper.Name)) > 0, "what the pod sends is not held back");
        Assert.True(Overlimits(Tc(node, "-s", "qdisc", "show", "dev", link)) > 0, "what the pod receives is not held back");

        node.Handler.Handle(new CniRequest("DEL", "limited", limited.Path, "eth0", ""), new System.Buffers.ArrayBufferWriter<byte>());
        Assert.Null(node.Host.FindLink(shaper.Name));
    }

    [Fact]
    public void Restart_LinkGoneWithoutUs_TakesItsShaperAlong()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        Add(node, "limited", Slow);
        var link = PodAttachment.LinkNameOf("limited", "eth0");
        using (var batch = new NetlinkBatch())
        {
            batch.DeleteLink(link);
            node.Host.Execute(batch);
        }
        Assert.NotNull(node.Host.FindLink(PodAttachment.ShaperNameOf(link)));

        node.StartCni();

        Assert.Null(node.Host.FindLink(PodAttachment.ShaperNameOf(link)));
    }

    [Fact]
    public void Cleanup_RemoveAll_TakesShapers()
    {
        TestNode.RequirePrivilege();
        using var node = new TestNode();
        Add(node, "limited", Slow);
        NetworkCleanup.RemoveAll(node.Namespace);
        Assert.Equal(["lo", "uplink"], node.Host.ListLinks().Select(static other => other.Name));
    }

    [Theory]
    [InlineData(800_000, 0, 64 * 1024)]
    [InlineData(800_000, 4294967295, 64 * 1024)]
    [InlineData(1_000_000_000, 4294967295, 12_500_000)]
    [InlineData(800_000, 8_000_000, 1_000_000)]
    [InlineData(800_000, 8, 64 * 1024)]
    public void BurstBytes_ByWhatWasAsked_IsThatOrATenthOfASecond(ulong rate, ulong burst, uint bytes) => Assert.Equal(bytes, PodShaper.BurstBytes(rate, burst));

    private static Interop.Namespaces.NetworkNamespace Add(TestNode node, string id, string runtime)
    {
        var pod = node.NewPodNamespace();
        var body = System.Text.Encoding.UTF8.GetBytes($"ADD\0{id}\0{pod.Path}\0eth0\0\0{{\"cniVersion\":\"1.0.0\",\"name\":\"k3sfast\",\"runtimeConfig\":{{{runtime}}}}}");
        node.Handler.Handle(CniRequest.Parse(body), new System.Buffers.ArrayBufferWriter<byte>());
        return pod;
    }

    private static string Tc(TestNode node, params string[] arguments) => TestNode.Execute(node.Namespace, "tc", "", null, arguments).Output;

    private static long Overlimits(string statistics)
    {
        var tbf = statistics[statistics.IndexOf("tbf", StringComparison.Ordinal)..];
        var words = tbf[(tbf.IndexOf("overlimits ", StringComparison.Ordinal) + "overlimits ".Length)..];
        return long.Parse(words.AsSpan(0, words.IndexOf(' ', StringComparison.Ordinal)), System.Globalization.CultureInfo.InvariantCulture);
    }

    private static async Task SendAsync(Interop.Namespaces.NetworkNamespace from, Interop.Namespaces.NetworkNamespace to, int bytes)
    {
        using var inside = RouteSocket.Open(to);
        var address = inside.ListAddresses().First(entry => entry.Address.ToString().StartsWith("10.", StringComparison.Ordinal)).Address;
        var listener = to.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        using (listener)
        {
            listener.Bind(new System.Net.IPEndPoint(address, 0));
            listener.Listen();
            using var client = await Traffic.ConnectAsync(from, address, ((System.Net.IPEndPoint)listener.LocalEndPoint!).Port);
            using var server = await listener.AcceptAsync();
            var sending = client.SendAsync(new byte[bytes]);
            var buffer = new byte[65536];
            for (var received = 0; received < bytes;) received += await server.ReceiveAsync(buffer);
            await sending;
        }
    }
}
