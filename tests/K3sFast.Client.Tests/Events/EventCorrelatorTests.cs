using k8s.Models;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Client.Tests;

public sealed class EventCorrelatorTests
{
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));

    [Fact]
    public void Correlate_EqualEvents_AreCountedUpUnderTheFirstName()
    {
        var correlator = new EventCorrelator(_clock);
        Assert.Equal(EventFate.Create, correlator.Correlate(Event("a", "same", name: "first"), out _));
        var second = Event("a", "same", name: "second");
        Assert.Equal(EventFate.Update, correlator.Correlate(second, out _));
        var third = Event("a", "same", name: "third");
        Assert.Equal(EventFate.Update, correlator.Correlate(third, out _));

        Assert.Equal(("first", 2), (second.Metadata.Name, second.Count));
        Assert.Equal(("first", 3), (third.Metadata.Name, third.Count));
    }

    [Fact]
    public void Correlate_EqualEventsAfterADay_AreStillCountedUp()
    {
        var correlator = new EventCorrelator(_clock);
        correlator.Correlate(Event("a", "same"), out _);
        _clock.Advance(TimeSpan.FromDays(1));
        Assert.Equal(EventFate.Update, correlator.Correlate(Event("a", "same"), out _));
    }

    [Fact]
    public void Correlate_TenSimilarEvents_AreCombined()
    {
        var correlator = new EventCorrelator(_clock);
        for (var i = 1; i < 10; i++)
            Assert.Equal(EventFate.Create, correlator.Correlate(Event("a", $"message {i}"), out _));
        var tenth = Event("a", "message 10", name: "combined");
        var eleventh = Event("a", "message 11");

        Assert.Equal(EventFate.Create, correlator.Correlate(tenth, out _));
        Assert.Equal("(combined from similar events): message 10", tenth.Message);
        Assert.Equal(EventFate.Update, correlator.Correlate(eleventh, out _));
        Assert.Equal(("(combined from similar events): message 11", "combined", 2), (eleventh.Message, eleventh.Metadata.Name, eleventh.Count));
    }

    [Fact]
    public void Correlate_SimilarEventsOfAnotherReason_StayApart()
    {
        var correlator = new EventCorrelator(_clock);
        for (var i = 0; i < 9; i++)
            correlator.Correlate(Event("a", $"message {i}"), out _);
        var other = Event("a", "message 10", reason: "Other");
        correlator.Correlate(other, out _);
        Assert.Equal("message 10", other.Message);
    }

    [Fact]
    public void Correlate_SimilarEventsTenMinutesApart_AreNotCombined()
    {
        var correlator = new EventCorrelator(_clock);
        for (var i = 0; i < 9; i++)
            correlator.Correlate(Event("a", $"message {i}"), out _);
        _clock.Advance(TimeSpan.FromMinutes(10.1));
        var tenth = Event("a", "message 10");
        correlator.Correlate(tenth, out _);
        Assert.Equal("message 10", tenth.Message);
    }

    [Fact]
    public void Correlate_MoreThanTwentyFive_AreCutAndOneComesEveryFiveMinutes()
    {
        var correlator = new EventCorrelator(_clock);
        var fates = Enumerable.Range(0, 30).Select(_ => correlator.Correlate(Event("a", "same"), out var _)).ToList();
        Assert.Equal(5, fates.Count(static fate => fate == EventFate.Drop));
        Assert.NotEqual(EventFate.Drop, correlator.Correlate(Event("b", "same"), out _));

        _clock.Advance(TimeSpan.FromMinutes(5));
        var next = Event("a", "same");
        Assert.Equal(EventFate.Update, correlator.Correlate(next, out _));
        // Those that were cut are in the count.
        Assert.Equal(31, next.Count);
        Assert.Equal(EventFate.Drop, correlator.Correlate(Event("a", "same"), out _));
    }

    [Fact]
    public void Correlate_ManyObjects_StaysBounded()
    {
        var map = new RecentMap<string>(3);
        foreach (var key in new[] { "a", "b", "c" })
            map.Set(key, key);
        map.Find("a");
        map.Set("d", "d");

        Assert.Equal(3, map.Count);
        Assert.Equal("a", map.Find("a"));
        Assert.Null(map.Find("b"));
    }

    private static Corev1Event Event(string about, string message, string reason = "Failed", string name = "event") => new()
    {
        Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "default" },
        InvolvedObject = new V1ObjectReference { Kind = "Pod", ApiVersion = "v1", Name = about, NamespaceProperty = "default", Uid = about },
        Source = new V1EventSource { Component = "kubelet", Host = "node" },
        Type = "Warning",
        Reason = reason,
        Message = message,
        Count = 1,
    };
}
