using System.Text;
using K3sFast.Client;
using K3sFast.Network.Proxy;

namespace K3sFast.Network.Tests.Proxy;

public sealed class ProxyMetricsTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void SyncFailed_WhoAskedForIptables_FindsItUnderThatName(bool isIptablesAsked)
    {
        var metrics = new ProxyMetrics(new MetricRegistry(), isIptablesAsked);
        metrics.SyncFailed("IPv4");
        var text = Encoding.UTF8.GetString(HttpAnswer.Metrics(metrics.Registry).Body.Span);
        Assert.Contains("kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"} 1\n", text, StringComparison.Ordinal);
        Assert.Equal(isIptablesAsked, text.Contains("kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family=\"IPv4\"} 1\n", StringComparison.Ordinal));
    }
}
