using K3sFast.Client;
using K3sFast.Client.Testing;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Scheduler.Tests;

public sealed class SchedulerTests : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromSeconds(120));
    private readonly InMemoryApi _api = new();
    private Task _running = Task.CompletedTask;

    [Fact]
    public async Task Pod_Pending_IsBoundAndTold()
    {
        await CreateAsync(Make.Node("n"));
        Start();
        await CreateAsync(Make.Pod("p", "1"));
        await Until(async () => (await PodAsync("p"))?.Spec.NodeName == "n");
        await Until(() => _api.Writes.Contains("POST /apis/events.k8s.io/v1/namespaces/default/events"));
    }

    [Fact]
    public async Task Pod_OfAnotherScheduler_IsLeftAlone()
    {
        await CreateAsync(Make.Node("n"));
        Start();
        var foreign = Make.Pod("foreign");
        foreign.Spec.SchedulerName = "mine";
        await CreateAsync(foreign);
        await CreateAsync(Make.Pod("ours"));
        await Until(async () => (await PodAsync("ours"))?.Spec.NodeName == "n");
        Assert.Null((await PodAsync("foreign"))!.Spec.NodeName);
    }

    [Fact]
    public async Task Pod_NoRoom_GetsConditionAndIsPlacedWhenRoomComes()
    {
        await CreateAsync(Make.Node("n", cpu: "1"));
        Start();
        await CreateAsync(Make.Pod("p", "2"));
        await Until(async () => (await PodAsync("p"))?.Status.Conditions?.Count > 0);
        var condition = (await PodAsync("p"))!.Status.Conditions[0];
        Assert.Equal(("PodScheduled", "False", "Unschedulable"), (condition.Type, condition.Status, condition.Reason));
        Assert.Equal(
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.", condition.Message);
        await CreateAsync(Make.Node("big"));
        await Until(async () => (await PodAsync("p"))?.Spec.NodeName == "big");
    }

    [Fact]
    public async Task Pod_HigherPriority_PreemptsAndIsNominated()
    {
        await CreateAsync(Make.Node("n", cpu: "1"));
        Start();
        await CreateAsync(Make.Pod("low", "1", priority: 1));
        await Until(async () => (await PodAsync("low"))?.Spec.NodeName == "n");
        await CreateAsync(Make.Pod("high", "1", priority: 10));
        await Until(async () => await PodAsync("low") is null);
        await Until(async () => (await PodAsync("high"))?.Spec.NodeName == "n");
    }

    [Fact]
    public async Task Pods_BurstOfMany_NeverOvercommitANode()
    {
        for (var i = 0; i < 5; i++) await CreateAsync(Make.Node($"n{i}", cpu: "2"));
        Start();
        for (var i = 0; i < 12; i++) await CreateAsync(Make.Pod($"p{i}", "1"));
        await Until(async () => (await PodsAsync()).Count(static pod => pod.Spec.NodeName is not null) == 10);
        var perNode = (await PodsAsync()).Where(static pod => pod.Spec.NodeName is not null).GroupBy(static pod => pod.Spec.NodeName);
        Assert.All(perNode, static group => Assert.Equal(2, group.Count()));
    }

    [Fact]
    public async Task Binding_Refused_IsTriedAgain()
    {
        await CreateAsync(Make.Node("n"));
        var refusals = 1;
        _api.Intercept = request => request.PathAndQuery.EndsWith("/binding", StringComparison.Ordinal) && Interlocked.Decrement(ref refusals) >= 0
            ? new ApiResponse(500, "{\"kind\":\"Status\",\"code\":500,\"message\":\"no\"}"u8.ToArray())
            : null;
        Start();
        await CreateAsync(Make.Pod("p"));
        await Until(async () => (await PodAsync("p"))?.Spec.NodeName == "n");
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        _stop.Dispose();
    }

    private void Start()
    {
        var options = new SchedulerOptions { FirstBackoff = TimeSpan.FromMilliseconds(20) };
        _running = new Scheduler(options, _api.Client, NullLoggerFactory.Instance).RunAsync(_stop.Token);
    }

    private async Task CreateAsync(V1Node node) => await _api.Client.CreateAsync(Resources.Nodes, node, _stop.Token);

    private async Task CreateAsync(V1Pod pod) => await _api.Client.CreateAsync(Resources.Pods, pod, _stop.Token);

    private async Task<V1Pod?> PodAsync(string name) => await _api.Client.FindAsync(Resources.Pods, "default", name, _stop.Token);

    private async Task<IReadOnlyList<V1Pod>> PodsAsync() => (await _api.Client.ListAsync(Resources.Pods, null, default, _stop.Token)).Items;

    private async Task Until(Func<Task<bool>> condition)
    {
        while (!await condition()) await Task.Delay(5, _stop.Token);
    }

    private Task Until(Func<bool> condition) => Until(() => Task.FromResult(condition()));
}
