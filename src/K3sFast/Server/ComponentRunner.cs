using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace K3sFast.Server;

/// <summary>Keeps parts of the node running: one that falls is logged and started again, with a growing wait.</summary>
/// <remarks>A part that falls never takes the others with it.</remarks>
internal sealed class ComponentRunner(ILogger log, CancellationToken stopping)
{
    private static readonly TimeSpan s_firstWait = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_lastWait = TimeSpan.FromSeconds(30);
    // Running this long counts as healthy, and the wait starts over.
    private static readonly TimeSpan s_healthy = TimeSpan.FromMinutes(2);

    private readonly List<Task> _tasks = [];
    private readonly ConcurrentDictionary<string, string> _failures = new();

    /// <summary>Starts a part; <paramref name="run"/> is called anew for each life.</summary>
    public void Start(string name, Func<CancellationToken, Task> run) => _tasks.Add(Task.Run(() => KeepAsync(name, run), CancellationToken.None));

    /// <summary>Why a part is not running now; null while it runs.</summary>
    public string? WhyNotRunning(string name) => _failures.GetValueOrDefault(name);

    /// <summary>Completes when all parts have ended after the stop.</summary>
    public Task WhenAllAsync() => Task.WhenAll(_tasks);

    private async Task KeepAsync(string name, Func<CancellationToken, Task> run)
    {
        var wait = s_firstWait;
        while (!stopping.IsCancellationRequested)
        {
            var started = Environment.TickCount64;
            try
            {
                log.ComponentStarting(name);
                _failures.TryRemove(name, out _);
                await run(stopping).ConfigureAwait(false);
                if (!stopping.IsCancellationRequested)
                    log.ComponentEnded(name);
                _failures[name] = "it ended by itself and is started again";
            }
            catch (OperationCanceledException) when (stopping.IsCancellationRequested)
            {
                return;
            }
            // The restart decision: whatever a part dies of, the node lives on and tries again.
            catch (Exception e)
            {
                if (stopping.IsCancellationRequested)
                    return;
                log.ComponentFailed(name, (long)wait.TotalSeconds, e);
                _failures[name] = e.Message;
            }
            if (Environment.TickCount64 - started > s_healthy.TotalMilliseconds)
                wait = s_firstWait;
            await Task.Delay(wait, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            wait = TimeSpan.FromTicks(Math.Min(wait.Ticks * 2, s_lastWait.Ticks));
        }
    }
}
