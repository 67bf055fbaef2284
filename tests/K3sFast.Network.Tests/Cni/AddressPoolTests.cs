using System.Net;
using System.Text;
using K3sFast.Network.Cni;

namespace K3sFast.Network.Tests.Cni;

public sealed class AddressPoolTests
{
    [Fact]
    public void Take_UntilEmpty_GivesEachOnceAndRestsReturnedOnes()
    {
        var pool = new AddressPool(IPNetwork.Parse("10.42.3.0/29"));
        var given = Enumerable.Range(0, 5).Select(_ => pool.Take()!.ToString()).ToArray();
        Assert.Equal(["10.42.3.2", "10.42.3.3", "10.42.3.4", "10.42.3.5", "10.42.3.6"], given);
        Assert.Null(pool.Take());

        pool.Release(IPAddress.Parse("10.42.3.6"));
        pool.Release(IPAddress.Parse("10.42.3.3"));
        Assert.Equal("10.42.3.3", pool.Take()!.ToString());
        Assert.Equal("10.42.3.6", pool.Take()!.ToString());
    }

    [Fact]
    public void Reserve_ForeignAddress_IsIgnored()
    {
        var pool = new AddressPool(IPNetwork.Parse("10.42.3.0/29"));
        pool.Reserve(IPAddress.Parse("10.42.4.2"));
        pool.Reserve(IPAddress.Parse("fd00::2"));
        pool.Reserve(IPAddress.Parse("10.42.3.2"));
        Assert.Equal(4, pool.FreeCount);
        Assert.Equal("10.42.3.3", pool.Take()!.ToString());
    }

    [Fact]
    public void Take_IPv6_CountsFromTheNetworksEnd() =>
        Assert.Equal("fd00:42:0:1::2", new AddressPool(IPNetwork.Parse("fd00:42:0:1::/64")).Take()!.ToString());

    [Theory]
    [InlineData("not a frame")]
    [InlineData("ADD\0c0\0/ns\0eth0\0")]
    [InlineData("ADD\0c0\0/ns\0eth0\0\0{")]
    [InlineData("ADD\0c0\0/ns\0eth0\0\0[]")]
    [InlineData("ADD\0c0\0/ns\0eth0\0\0{\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":70000,\"containerPort\":1}]}}")]
    [InlineData("ADD\0c0\0/ns\0eth0\0\0{\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":1,\"containerPort\":1,\"hostIP\":\"x\"}]}}")]
    [InlineData("ADD\0c0\0/ns\0eth0\0\0{\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":1,\"containerPort\":1,\"protocol\":\"icmp\"}]}}")]
    public void Parse_Malformed_IsRefusedAsSuch(string body) =>
        Assert.Equal(CniException.Decoding, Assert.Throws<CniException>(() => CniRequest.Parse(Encoding.UTF8.GetBytes(body))).Code);

    [Fact]
    public void Parse_PortMappings_AreReadAsContainerdSendsThem()
    {
        var request = CniRequest.Parse(Encoding.UTF8.GetBytes(
            "ADD\0c0\0/ns\0eth0\0K8S=1\0{\"cniVersion\":\"1.0.0\",\"runtimeConfig\":{\"portMappings\":["
            + "{\"HostPort\":80,\"ContainerPort\":8080,\"Protocol\":\"tcp\",\"HostIP\":\"\"},{\"hostPort\":0,\"containerPort\":1,\"protocol\":\"TCP\"},"
            + "{\"hostPort\":53,\"containerPort\":53,\"protocol\":\"UDP\",\"hostIP\":\"127.0.0.1\"}]}}"));
        Assert.Equal([new PortMapping(6, null, 80, 8080), new PortMapping(17, IPAddress.Loopback, 53, 53)], request.PortMappings);
    }
}
