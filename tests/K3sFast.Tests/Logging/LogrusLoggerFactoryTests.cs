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

    [Fact]
    public void Component_RaisedAboveTheOthers_TellsMoreAndNeverLess()
    {
        using var output = new StringWriter();
        using var factory = new LogrusLoggerFactory(LogLevel.Information, new FakeTimeProvider(DateTimeOffset.UnixEpoch), output);
        factory.Raise("apiserver", LogrusLoggerFactory.LevelOf(4));
        factory.Raise("kubelet", LogLevel.Error);
        foreach (var category in (string[])["K3sFast.ApiServer.ApiServer", "K3sFast.Kubelet.Pod", "K3sFast.Network.Proxy"])
        {
            factory.CreateLogger(category).Log(LogLevel.Debug, default, "d", null, static (state, _) => state);
            factory.CreateLogger(category).Log(LogLevel.Information, default, "i", null, static (state, _) => state);
        }
        Assert.Equal(
            ["level=debug msg=\"d\" component=apiserver", "level=info msg=\"i\" component=apiserver", "level=info msg=\"i\" component=kubelet", "level=info msg=\"i\" component=network"],
            output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => line[(line.IndexOf("level=", StringComparison.Ordinal))..]));
    }
}
