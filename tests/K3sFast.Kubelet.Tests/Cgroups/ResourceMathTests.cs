using K3sFast.Kubelet.Cgroups;

namespace K3sFast.Kubelet.Tests.Cgroups;

public sealed class ResourceMathTests
{
    [Theory]
    [InlineData("0", 2)]
    [InlineData("0.001", 2)]
    [InlineData("0.1", 102)]
    [InlineData("1", 1024)]
    [InlineData("2.5", 2560)]
    [InlineData("1000", 262144)]
    public void CpuShares_OfCores_IsWithinTheKernelsBounds(string cores, long shares) => Assert.Equal(shares, ResourceMath.CpuShares(decimal.Parse(cores, System.Globalization.CultureInfo.InvariantCulture)));

    [Theory]
    [InlineData("0", 0)]
    [InlineData("0.001", 1000)]
    [InlineData("0.5", 50000)]
    [InlineData("2", 200000)]
    public void CpuQuota_OfLimit_IsPerPeriod(string cores, long quota) => Assert.Equal(quota, ResourceMath.CpuQuotaUs(decimal.Parse(cores, System.Globalization.CultureInfo.InvariantCulture)));

    [Theory]
    [InlineData(2, 1)]
    [InlineData(1024, 39)]
    [InlineData(262144, 10000)]
    public void CpuWeight_OfShares_IsLinear(long shares, long weight) => Assert.Equal(weight, ResourceMath.CpuWeight(shares));

    [Theory]
    [InlineData("Guaranteed", 0, -997)]
    [InlineData("BestEffort", 0, 1000)]
    [InlineData("Burstable", 0, 999)]
    [InlineData("Burstable", 500, 500)]
    [InlineData("Burstable", 1000, 3)]
    public void OomScore_OfClass_OrdersTheKills(string qosClass, int request, long expected) => Assert.Equal(expected, ResourceMath.OomScoreAdjust(qosClass, request, 1000, false));
}
