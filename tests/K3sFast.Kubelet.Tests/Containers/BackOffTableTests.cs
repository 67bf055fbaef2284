using K3sFast.ApiMachinery;
using K3sFast.Kubelet.Containers;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Kubelet.Tests.Containers;

public sealed class BackOffTableTests
{
    [Fact]
    public void Next_Repeated_DoublesUpToTheLast()
    {
        var time = new FakeTimeProvider();
        var table = new BackOffTable(TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(300), time);
        Assert.Equal(TimeSpan.Zero, table.Remaining("k", time.GetUtcNow()));
        foreach (var expected in (int[])[10, 20, 40, 80, 160, 300, 300])
        {
            table.Next("k", time.GetUtcNow());
            Assert.Equal(TimeSpan.FromSeconds(expected), table.Remaining("k", time.GetUtcNow()));
            time.Advance(TimeSpan.FromSeconds(expected));
        }
    }

    [Fact]
    public void Remaining_KeyBehavedForTwiceTheLast_StartsAfresh()
    {
        var time = new FakeTimeProvider();
        var table = new BackOffTable(TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(300), time);
        table.Next("k", time.GetUtcNow());
        table.Next("k", time.GetUtcNow());
        time.Advance(TimeSpan.FromSeconds(601));
        Assert.Equal(TimeSpan.Zero, table.Remaining("k", time.GetUtcNow()));
        table.Next("k", time.GetUtcNow());
        Assert.Equal(TimeSpan.FromSeconds(10), table.Current("k"));
    }

    [Theory]
    [InlineData(10_000, "10s")]
    [InlineData(80_000, "1m20s")]
    [InlineData(300_000, "5m0s")]
    [InlineData(87, "87ms")]
    [InlineData(1_234, "1.234s")]
    public void Format_Duration_AsUpstreamWritesIt(int milliseconds, string expected) => Assert.Equal(expected, GoDuration.Format(TimeSpan.FromMilliseconds(milliseconds)));
}
