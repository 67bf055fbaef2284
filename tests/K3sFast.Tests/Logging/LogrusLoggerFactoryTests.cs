using K3sFast.Logging;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Tests.Logging;

public sealed class LogrusLoggerFactoryTests
{
    [Fact]
    public void Write_AwkwardText_IsOneQuotedLine()
    {
        using var output = new StringWriter();
        using var factory = new LogrusLoggerFactory(LogLevel.Information, new FakeTimeProvider(DateTimeOffset.UnixEpoch), output);
        factory.CreateLogger("K3sFast.Kubelet.Pods.PodWorker").Log(LogLevel.Warning, default, "a \"b\"\n", null, static (state, _) => state);
        factory.CreateLogger("K3sFast.Server").Log(LogLevel.Debug, default, "hidden", null, static (state, _) => state);
        Assert.Equal("time=\"1970-01-01T00:00:00Z\" level=warning msg=\"a \\\"b\\\"\\n\" component=kubelet\n", output.ToString());
    }
}
