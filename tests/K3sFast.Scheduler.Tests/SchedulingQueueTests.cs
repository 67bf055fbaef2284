using k8s.Models;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Scheduler.Tests;

public sealed class SchedulingQueueTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly SchedulingQueue _queue;

    public SchedulingQueueTests()
    {
        _queue = new SchedulingQueue(_time, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(10));
    }

    [Fact]
    public void Queue_Order_IsPriorityThenAge()
    {
        _queue.Put(Make.Pod("old"));
        _queue.Put(Make.Pod("high", priority: 10));
        _queue.Put(Make.Pod("young"));
        Assert.Equal("high", Take());
        Assert.Equal("old", Take());
        Assert.Equal("young", Take());
        Assert.Null(_queue.Take());
    }

    [Fact]
    public void Queue_FailedPod_WaitsForAnEventThatHelpsAndItsBackoff()
    {
        _queue.Put(Make.Pod("p"));
        _queue.Failed(_queue.Take()!, ClusterEvents.PodRemoved);
        _queue.Wake(ClusterEvents.NodeLabels);
        _time.Advance(TimeSpan.FromSeconds(2));
        _queue.MoveDue();
        Assert.Null(_queue.Take());
        _queue.Wake(ClusterEvents.PodRemoved);
        Assert.Equal("p", Take());
    }

    [Fact]
    public void Queue_Backoff_DoublesUpToItsLimit()
    {
        _queue.Put(Make.Pod("p"));
        foreach (var seconds in (int[])[1, 2, 4, 8, 10, 10])
        {
            _queue.Failed(_queue.Take()!, ClusterEvents.NodeAdded);
            _queue.Wake(ClusterEvents.NodeAdded);
            Assert.Equal(_time.GetUtcNow() + TimeSpan.FromSeconds(seconds), _queue.NextDue);
            _time.Advance(TimeSpan.FromSeconds(seconds));
            _queue.MoveDue();
        }
    }

    [Fact]
    public void Queue_UnschedulableForLong_IsTriedAgain()
    {
        _queue.Put(Make.Pod("p"));
        _queue.Failed(_queue.Take()!, ClusterEvents.NodeAdded);
        _time.Advance(TimeSpan.FromMinutes(5));
        _queue.MoveDue();
        Assert.Equal("p", Take());
    }

    [Fact]
    public void Queue_GatedPod_WaitsForItsGates()
    {
        var pod = Make.Pod("p");
        pod.Spec.SchedulingGates = [new V1PodSchedulingGate { Name = "g" }];
        _queue.Put(pod);
        Assert.Null(_queue.Take());
        _queue.Put(Make.Pod("p"));
        Assert.Equal("p", Take());
    }

    [Fact]
    public void Queue_RemovedPod_IsNotTaken()
    {
        _queue.Put(Make.Pod("p"));
        _queue.Remove("uid-p");
        Assert.Null(_queue.Take());
    }

    [Fact]
    public void Queue_StatusWrite_DoesNotWake()
    {
        _queue.Put(Make.Pod("p"));
        _queue.Failed(_queue.Take()!, ClusterEvents.NodeAdded);
        _time.Advance(TimeSpan.FromSeconds(30));
        _queue.Put(Make.Pod("p"));
        Assert.Null(_queue.Take());
        var changed = Make.Pod("p");
        changed.Metadata.Generation = 2;
        _queue.Put(changed);
        Assert.Equal("p", Take());
    }

    private string? Take() => _queue.Take()?.Info.Pod.Metadata.Name;
}
