using K3sFast.Client.Testing;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Client.Tests.Election;

/// <summary>One works, the others wait; whoever loses stops, and waits again.</summary>
public sealed class LeaderElectorTests : IDisposable
{
    // Short where a test waits for the end of one; no assertion depends on how short.
    private static readonly LeaderElectionOptions s_quick = new(TimeSpan.FromMilliseconds(1500), TimeSpan.FromMilliseconds(1000), TimeSpan.FromMilliseconds(50));

    // Long where none is to end because the machine is slow.
    private static readonly LeaderElectionOptions s_patient = new(TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(40), TimeSpan.FromMilliseconds(50));

    private readonly InMemoryApi _api = new();
    private readonly CancellationTokenSource _deadline = new(TimeSpan.FromSeconds(120));

    public void Dispose() => _deadline.Dispose();

    [Fact]
    public async Task TwoElectors_OneWorksAtATime_AndTheOtherTakesOverAtOnceWhenItStops()
    {
        var first = new Worker(_api, "a", s_patient);
        var second = new Worker(_api, "b", s_patient);
        await first.StartedAsync(1, _deadline.Token);
        second.Begin();
        await first.StopAsync();
        await second.StartedAsync(1, _deadline.Token);
        Assert.False(first.IsWorking);
        var lease = await LeaseAsync();
        Assert.Equal("b", lease.Spec.HolderIdentity);
        // One transition more than at the first.
        Assert.Equal(1, lease.Spec.LeaseTransitions);
        await second.StopAsync();
        Assert.Equal("", (await LeaseAsync()).Spec.HolderIdentity);
    }

    [Fact]
    public async Task LeaseTakenAway_WorkStopsAndIsBegunAgainWhenItComesBack()
    {
        var worker = new Worker(_api, "a");
        await worker.StartedAsync(1, _deadline.Token);
        // Somebody else writes himself in, as after a pause of ours that was too long.
        var lease = await LeaseAsync();
        (lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds) = ("thief", 1);
        while (true)
        {
            try
            {
                await _api.Client.UpdateAsync(Resources.Leases, lease, _deadline.Token);
                break;
            }
            catch (ApiException conflict) when (conflict.IsConflict)
            {
                lease = await LeaseAsync();
                (lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds) = ("thief", 1);
            }
        }
        await worker.StoppedAsync(1, _deadline.Token);
        // The thief never renews: the lease runs out, and the same process leads again.
        await worker.StartedAsync(2, _deadline.Token);
        await worker.StopAsync();
    }

    [Fact]
    public async Task ApiOutOfReach_LeaderStopsBeforeAnotherCouldStart_AndLeadsAgain()
    {
        var worker = new Worker(_api, "a");
        await worker.StartedAsync(1, _deadline.Token);
        _api.Intercept = static _ => throw new HttpRequestException("the API is out of reach");
        await worker.StoppedAsync(1, _deadline.Token);
        _api.Intercept = null;
        await worker.StartedAsync(2, _deadline.Token);
        await worker.StopAsync();
    }

    private ValueTask<V1Lease> LeaseAsync() => _api.Client.GetAsync(Resources.Leases, "kube-system", "work", _deadline.Token);

    /// <summary>An elector with a work that counts its lives.</summary>
    private sealed class Worker
    {
        private readonly InMemoryApi _api;
        private readonly string _name;
        private readonly LeaderElectionOptions _options;
        private readonly CancellationTokenSource _stop = new();
        private Task _running = Task.CompletedTask;
        private int _started;
        private int _stopped;

        public Worker(InMemoryApi api, string name, LeaderElectionOptions? options = null)
        {
            (_api, _name, _options) = (api, name, options ?? s_quick);
            if (name == "a") Begin();
        }

        public bool IsWorking => Volatile.Read(ref _started) > Volatile.Read(ref _stopped);

        public void Begin() => _running = new LeaderElector(_api.Client, "work", _name, _options, NullLogger.Instance).RunAsync(WorkAsync, _stop.Token);

        public Task StartedAsync(int times, CancellationToken deadline) => UntilAsync(() => Volatile.Read(ref _started) >= times, deadline);

        public Task StoppedAsync(int times, CancellationToken deadline) => UntilAsync(() => Volatile.Read(ref _stopped) >= times, deadline);

        public async Task StopAsync()
        {
            await _stop.CancelAsync();
            await _running;
            _stop.Dispose();
        }

        private async Task WorkAsync(CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref _started);
            await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            Interlocked.Increment(ref _stopped);
        }

        private static async Task UntilAsync(Func<bool> isSo, CancellationToken deadline)
        {
            while (!isSo()) await Task.Delay(10, deadline);
        }
    }
}
