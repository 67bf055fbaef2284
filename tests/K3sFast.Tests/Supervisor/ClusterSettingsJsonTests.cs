using System.Net;
using System.Text;
using K3sFast.Configuration;
using K3sFast.Supervisor;

namespace K3sFast.Tests.Supervisor;

public sealed class ClusterSettingsJsonTests
{
    [Fact]
    public void Settings_WrittenAndRead_AreTheSame()
    {
        var settings = new ClusterSettings
        {
            ClusterCidrs = [IPNetwork.Parse("10.42.0.0/16"), IPNetwork.Parse("fd00:42::/56")],
            ServiceCidrs = [IPNetwork.Parse("10.43.0.0/16"), IPNetwork.Parse("fd00:43::/112")],
            ClusterDns = [IPAddress.Parse("10.43.0.10")],
            ClusterDomain = "example.test",
            FlannelBackend = "host-gw",
            FlannelIPv6Masq = true,
            HasProxy = false,
            HttpsPort = 7443,
        };
        var bytes = ClusterSettingsJson.Write(settings);
        // As Go writes net.IPNet: k3s' agents read this.
        Assert.Contains("""
            "ClusterIPRange":{"IP":"10.42.0.0","Mask":"//8AAA=="}
            """, Encoding.UTF8.GetString(bytes), StringComparison.Ordinal);
        var read = ClusterSettingsJson.Read(bytes);
        Assert.Equal(settings.ClusterCidrs, read.ClusterCidrs);
        Assert.Equal(settings.ServiceCidrs, read.ServiceCidrs);
        Assert.Equal(settings.ClusterDns, read.ClusterDns);
        Assert.Equal(
            (settings.ClusterDomain, settings.FlannelBackend, settings.FlannelIPv6Masq, settings.FlannelExternalIP, settings.HasProxy, settings.HasNetworkPolicy, settings.HttpsPort),
            (read.ClusterDomain, read.FlannelBackend, read.FlannelIPv6Masq, read.FlannelExternalIP, read.HasProxy, read.HasNetworkPolicy, read.HttpsPort));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"ClusterIPRanges":[{"IP":"x","Mask":"//8AAA=="}]}""")]
    public void Read_WhatIsNotSettings_SaysSo(string text) => Assert.Throws<ConfigurationException>(() => ClusterSettingsJson.Read(Encoding.UTF8.GetBytes(text)));
}
