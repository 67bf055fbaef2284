using System.Net;
using K3sFast.Configuration;
using K3sFast.Network.Proxy;
using K3sFast.Server;

namespace K3sFast.Tests.Configuration;

public sealed class ProxyFlagsTests
{
    [Fact]
    public void Read_Nothing_IsWhatK3sDoes()
    {
        var warnings = new List<string>();
        var options = Read(warnings);
        Assert.Empty(warnings);
        Assert.Equal((ProxyMode.Nftables, true, false, 14), (options.Mode, options.HasLocalhostNodePorts, options.IsNodePortPrimaryOnly, options.MasqueradeBit));
        Assert.Equal(("127.0.0.1:10256", "127.0.0.1:10249"), (options.HealthAddress?.ToString(), options.MetricsAddress?.ToString()));
        Assert.False(options.AllowsExternalIPs);
        Assert.Empty(options.ConntrackSettings);
    }

    [Fact]
    public void Read_UpstreamsFlags_DoWhatTheyDoThere()
    {
        var options = Read(
            [], "nodeport-addresses=192.0.2.7/24,10.0.0.0/8", "masquerade-all", "iptables-masquerade-bit=7", "cluster-cidr=10.42.0.0/16,fd00:42::/56", "detect-local-mode=InterfaceNamePrefix",
            "pod-interface-name-prefix=veth", "healthz-bind-address=0.0.0.0:9000", "metrics-port=0", "iptables-sync-period=1m", "iptables-min-sync-period=250ms",
            "feature-gates=AllowServiceExternalIPs=true", "conntrack-max-per-core=1000", "conntrack-min=131072", "conntrack-tcp-timeout-established=24h", "conntrack-tcp-be-liberal=true");
        Assert.Equal([IPNetwork.Parse("192.0.2.0/24"), IPNetwork.Parse("10.0.0.0/8")], options.NodePortNetworks);
        Assert.False(options.HasLocalhostNodePorts);
        Assert.Equal((true, 7, LocalDetection.InterfaceNamePrefix, "veth"), (options.IsMasqueradeAll, options.MasqueradeBit, options.LocalDetection, options.Interface));
        Assert.Equal([IPNetwork.Parse("10.42.0.0/16"), IPNetwork.Parse("fd00:42::/56")], options.ClusterCidrs!);
        Assert.Equal(("0.0.0.0:9000", null), (options.HealthAddress?.ToString(), options.MetricsAddress?.ToString()));
        Assert.Equal((TimeSpan.FromMinutes(1), TimeSpan.FromMilliseconds(250), true), (options.SyncPeriod, options.MinSyncPeriod, options.AllowsExternalIPs));
        Assert.Equal("86400", options.ConntrackSettings["net/netfilter/nf_conntrack_tcp_timeout_established"]);
        Assert.Equal("1", options.ConntrackSettings["net/netfilter/nf_conntrack_tcp_be_liberal"]);
        Assert.Equal(Math.Max(131072, 1000 * Environment.ProcessorCount).ToString(System.Globalization.CultureInfo.InvariantCulture), options.ConntrackSettings["net/netfilter/nf_conntrack_max"]);
    }

    [Fact]
    public void Read_ModeNftables_HasUpstreamsNodePorts()
    {
        var warnings = new List<string>();
        var options = Read(warnings, "proxy-mode=nftables");
        Assert.Equal((true, false), (options.IsNodePortPrimaryOnly, options.HasLocalhostNodePorts));
        Assert.Empty(warnings);
        Assert.Equal((true, true, false), (Read([]).HasIptablesMetrics, Read([], "proxy-mode=ipvs").HasIptablesMetrics, options.HasIptablesMetrics));
        Assert.Equal((false, true), (Read(warnings, "proxy-mode=iptables") is var old ? old.IsNodePortPrimaryOnly : true, old.HasLocalhostNodePorts));
        Assert.Contains("served by nf_tables", Assert.Single(warnings), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("proxy-mode=kernelspace", "must be iptables, nftables, ipvs, ebpf or userspace")]
    [InlineData("nodeport-addresses=192.0.2.0", "must be a network")]
    [InlineData("nodeport-addresses=192.0.2.0/33", "must be a network")]
    [InlineData("iptables-masquerade-bit=32", "must be between 0 and 31")]
    [InlineData("iptables-sync-period=0s", "must be greater than 0")]
    [InlineData("detect-local-mode=Guess", "must be ClusterCIDR")]
    [InlineData("detect-local-mode=BridgeInterface", "asks for pod-bridge-interface")]
    [InlineData("healthz-bind-address=here", "must be IP:port")]
    [InlineData("feature-gates=AllowServiceExternalIPs", "must be Name=true")]
    [InlineData("config=/etc/kube-proxy.yaml", "give the flags themselves")]
    [InlineData("hostname-override=x", "--node-name")]
    [InlineData("no-such-flag=1", "unknown flag: --no-such-flag in --kube-proxy-arg")]
    public void Read_WhatCannotBe_IsRefused(string word, string message) =>
        Assert.Contains(message, Assert.Throws<ConfigurationException>(() => Read([], word)).Message, StringComparison.Ordinal);

    [Fact]
    public void All_EveryFlagOfUpstream_HasAFateAndWhatHasNoEffectSaysSo()
    {
        Assert.Equal(55, ProxyFlags.All.Count());
        foreach (var (name, fate, why) in ProxyFlags.All)
        {
            Assert.Equal(fate == FlagFate.Honoured, why.Length == 0);
            if (fate != FlagFate.Warned) continue;
            var warnings = new List<string>();
            Read(warnings, name + "=1");
            Assert.Contains("has no effect: " + why, Assert.Single(warnings), StringComparison.Ordinal);
        }
    }

    private static ProxyOptions Read(List<string> warnings, params string[] words) => ProxyFlags.Read(new ComponentArguments("kube-proxy-arg", [.. words]), warnings);
}
