using K3sFast.Configuration;
using K3sFast.Network;
using K3sFast.Server;

namespace K3sFast.Tests.Server;

public sealed class FlannelConfTests : IDisposable
{
    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    [Fact]
    public void Vxlan_AllOfItsKeys_Count()
    {
        var options = Read("""{"Network":"10.42.0.0/16","Backend":{"Type":"vxlan","VNI":7,"Port":4789,"MTU":9000,"DirectRouting":true,"GBP":false,"Learning":false}}""");
        Assert.Equal(("vxlan", 7, (ushort)4789, 9000, true), (options.Backend, options.Vni, options.Port, options.UnderlayMtu, options.IsDirectRoutingOn));
    }

    [Fact]
    public void WireGuard_AllOfItsKeys_Count()
    {
        var options = Read("""{"Backend":{"Type":"wireguard","ListenPort":1000,"ListenPortV6":1001,"MTU":1400,"PersistentKeepaliveInterval":9,"Mode":"separate","PSK":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="}}""");
        Assert.Equal(("wireguard-native", ((ushort)1000, (ushort)1001), 1400, 9), (options.Backend, options.WireGuardPorts, options.UnderlayMtu, options.WireGuardKeepaliveSeconds));
        Assert.Equal(1, options.WireGuardSharedKey.Span[31]);
    }

    [Theory]
    [InlineData("""{"Backend":{"Type":"udp"}}""", "backend type \"udp\" is not one of vxlan, host-gw, wireguard")]
    [InlineData("""{"Backend":{"Type":"vxlan","GBP":true}}""", "\"GBP\": true of backend vxlan is not supported")]
    [InlineData("""{"Backend":{"Type":"host-gw","VNI":1}}""", "\"VNI\": 1 of backend host-gw is not supported")]
    [InlineData("""{"Backend":{"Type":"wireguard","Mode":"auto"}}""", "\"Mode\": \"auto\" of backend wireguard is not supported")]
    [InlineData("""{"Backend":{"Type":"wireguard","PSK":"AAAA"}}""", "\"PSK\" is not a key of 32 bytes")]
    [InlineData("""{"Backend":{"Type":"vxlan","Port":100000}}""", "failed to read --flannel-conf")]
    [InlineData("""{"Network":"10.42.0.0/16"}""", "failed to read --flannel-conf")]
    [InlineData("{", "failed to read --flannel-conf")]
    public void Conf_OfWhatCannotBe_IsRefusedByName(string text, string words) =>
        Assert.Contains(words, Assert.Throws<ConfigurationException>(() => Read(text)).Message, StringComparison.Ordinal);

    private OverlayOptions Read(string text)
    {
        File.WriteAllText(_path, text);
        return FlannelConf.Read(_path, new OverlayOptions { Backend = "vxlan" });
    }
}
