using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Client.Tests;

public sealed class WorkQueueTests
{
    [Fact]
    public async Task Add_SameKeyTwice_IsTakenOnce()
    {
        using var queue = new WorkQueue<string>();
        queue.Add("a");
        queue.Add("a");
        Assert.Equal("a", await queue.TakeAsync(default));
        Assert.Equal(0, queue.Count);
    }

    [Fact]
    public async Task Add_WhileWorkedOn_WaitsUntilDone()
    {
        using var queue = new WorkQueue<string>();
        queue.Add("a");
        var key = await queue.TakeAsync(default);
        queue.Add("a");
        var second = queue.TakeAsync(default).AsTask();
        Assert.False(second.IsCompleted);
        queue.Done(key);
        Assert.Equal("a", await second.WaitAsync(TimeSpan.FromSeconds(60)));
    }

    [Fact]
    public async Task AddAfter_TwoDelays_TheEarlierCounts()
    {
        var time = new FakeTimeProvider();
        using var queue = new WorkQueue<string>(time);
        queue.AddAfter("a", TimeSpan.FromSeconds(10));
        queue.AddAfter("a", TimeSpan.FromSeconds(2));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal("a", await queue.TakeAsync(default));
        queue.Done("a");
        time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(0, queue.Count);
    }

    [Fact]
    public void AddRateLimited_Failures_DoubleTheDelay()
    {
        var time = new FakeTimeProvider();
        using var queue = new WorkQueue<string>(time, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(3));
        queue.AddRateLimited("a");
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(1, queue.Count);
        queue.AddRateLimited("b");
        queue.AddRateLimited("b");
        Assert.Equal(2, queue.Failures("b"));
        queue.Forget("b");
        Assert.Equal(0, queue.Failures("b"));
    }

    [Fact]
    public async Task TakeAsync_Cancelled_LosesNoKey()
    {
        using var queue = new WorkQueue<string>();
        using var stop = new CancellationTokenSource();
        var taker = queue.TakeAsync(stop.Token).AsTask();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => taker);
        queue.Add("a");
        Assert.Equal("a", await queue.TakeAsync(default));
    }
}
