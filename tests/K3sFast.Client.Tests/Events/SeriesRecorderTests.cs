using K3sFast.Client.Testing;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Client.Tests;

public sealed class SeriesRecorderTests
{
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly InMemoryApi _api = new();

    [Fact]
    public async Task Record_TheSameAgain_MakesASeriesThatIsToldWhenItEnds()
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        var recorder = new SeriesRecorder(_api.Client, "default-scheduler", NullLogger.Instance, _clock);
        var run = recorder.RunAsync(stop.Token);
        Record("no room");
        var first = (await UntilAsync(static events => events.Count == 1)).Single();
        Assert.Equal(("default-scheduler", "Scheduling", "FailedScheduling", "no room"), (first.ReportingController, first.Action, first.Reason, first.Note));
        Assert.Null(first.Series);
        Assert.StartsWith("web.", first.Metadata.Name, StringComparison.Ordinal);

        // Another note does not make another event: kind of thing, object and action do.
        Record("still no room");
        await UntilAsync(static events => events is [{ Series.Count: 2 }]);
        Record("still no room");
        Record("other object", "db");
        await UntilAsync(static events => events.Count == 2);
        Assert.Equal(2, (await ListAsync()).Single(static value => value.Regarding.Name == "web").Series.Count);

        _clock.Advance(TimeSpan.FromMinutes(6));
        await UntilAsync(static events => events.Any(static value => value is { Regarding.Name: "web", Series.Count: 3 }));

        // The series has ended: the next one is new.
        Record("no room once more");
        await UntilAsync(static events => events.Count(static value => value.Regarding.Name == "web") == 2);
        await stop.CancelAsync();
        await run;

        void Record(string note, string name = "web") => recorder.Record(
            new V1ObjectReference { Kind = "Pod", ApiVersion = "v1", Name = name, NamespaceProperty = "default", Uid = name }, null, "Warning", "FailedScheduling", "Scheduling", note);
    }

    private async Task<IReadOnlyList<Eventsv1Event>> ListAsync() => (await _api.Client.ListAsync(Resources.SeriesEvents, "default", new ListOptions(), TestContext.Current.CancellationToken)).Items;

    private async Task<IReadOnlyList<Eventsv1Event>> UntilAsync(Func<IReadOnlyList<Eventsv1Event>, bool> isGood)
    {
        var deadline = DateTime.UtcNow.AddSeconds(90);
        while (true)
        {
            var events = await ListAsync();
            if (isGood(events))
                return events;
            Assert.True(DateTime.UtcNow < deadline, $"not in time: {string.Join(", ", events.Select(static value => $"{value.Metadata.Name} {value.Series?.Count}"))}");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }
}
