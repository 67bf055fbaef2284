using System.Text;
using K3sFast.Client.Testing;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Client.Tests;

public sealed class EventRecorderTests
{
    private const string Terminating = """
        {"kind":"Status","apiVersion":"v1","status":"Failure","message":"forbidden","reason":"Forbidden","code":403,
         "details":{"causes":[{"reason":"NamespaceTerminating","message":"namespace going is being terminated","field":"metadata.namespace"}]}}
        """;

    private readonly InMemoryApi _api = new();

    [Fact]
    public async Task Record_NamespaceIsTerminating_AsksOncePerObjectAndStaysSilent()
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        var asked = new List<string>();
        _api.Intercept = request =>
        {
            asked.Add($"{request.Method} {request.PathAndQuery}");
            return request.PathAndQuery.Contains("/namespaces/going/", StringComparison.Ordinal) ? new ApiResponse(403, Encoding.UTF8.GetBytes(Terminating)) : null;
        };
        var log = new Lines();
        var recorder = new EventRecorder(_api.Client, "kubelet", "node1", log);
        for (var i = 0; i < 5; i++) recorder.Record(Pod("going", "a"), "Warning", "Unhealthy", "probe failed");
        recorder.Record(Pod("going", "b"), "Warning", "Unhealthy", "probe failed");
        recorder.Record(Pod("default", "c"), "Warning", "Unhealthy", "probe failed");
        var run = recorder.RunAsync(stop.Token);
        // In order: when the last one is written, those before it are done with.
        while (_api.Writes.Count == 0) await Task.Delay(10, TestContext.Current.CancellationToken);
        await stop.CancelAsync();
        await run;
        Assert.Equal(2, asked.Count(static request => request.Contains("/namespaces/going/", StringComparison.Ordinal)));
        Assert.Empty(log.Texts);
    }

    private static V1ObjectReference Pod(string name, string uid) => new() { Kind = "Pod", ApiVersion = "v1", Name = "web", NamespaceProperty = name, Uid = uid };

    private sealed class Lines : ILogger
    {
        public List<string> Texts { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (logLevel >= LogLevel.Information) Texts.Add(formatter(state, exception));
        }
    }
}
