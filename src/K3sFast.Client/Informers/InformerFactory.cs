using k8s;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Client;

/// <summary>
/// Shares one informer per resource and selection among all who ask, and runs them. Ask for informers before or after <see cref="RunAsync"/>
/// started; those asked for later start at once.
/// </summary>
public sealed class InformerFactory(ApiClient client, ILoggerFactory loggers, TimeProvider? time = null)
{
    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly Dictionary<(string Path, ListOptions Selection), Entry> _informers = [];
    private readonly List<Task> _running = [];
    private CancellationToken? _stop;

    /// <summary>The shared informer of <paramref name="resource"/>, narrowed by namespace and <paramref name="selection"/>.</summary>
    /// <remarks><paramref name="keepsEncoded"/> (see <see cref="Informer{T}"/>) is as the first who asks has it.</remarks>
    public Informer<T> Get<T>(Resource<T> resource, string? namespaceName = null, ListOptions selection = default, bool keepsEncoded = false)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        var key = (resource.Path(namespaceName) + "#" + typeof(T).Name, selection);
        lock (_gate)
        {
            if (_informers.TryGetValue(key, out var entry)) return (Informer<T>)entry.Informer;
            var logger = loggers.CreateLogger("K3sFast.Client.Informer");
            var informer = new Informer<T>(client, resource, namespaceName, selection, logger, time, keepsEncoded);
            entry = new Entry(informer, informer.RunAsync, informer.WaitForSyncAsync);
            _informers[key] = entry;
            if (_stop is { } stop) _running.Add(entry.Run(stop));
            return informer;
        }
    }

    /// <summary>Starts every informer asked for so far; returns at once. Calling it again changes nothing.</summary>
    public void Start(CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            if (_stop is not null) return;
            _stop = cancellationToken;
            foreach (var entry in _informers.Values) _running.Add(entry.Run(cancellationToken));
        }
    }

    /// <summary>Completes when every informer asked for so far has its first list.</summary>
    public Task WaitForSyncAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            var waits = new List<Task>(_informers.Count);
            foreach (var entry in _informers.Values) waits.Add(entry.WaitForSync(cancellationToken));
            return Task.WhenAll(waits);
        }
    }

    /// <summary><see cref="Start"/>, then runs until cancelled and every informer has ended.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        Start(cancellationToken);
        var stopped = new TaskCompletionSource();
        await using var registration = cancellationToken.Register(stopped.SetResult).ConfigureAwait(false);
        await stopped.Task.ConfigureAwait(false);
        Task[] running;
        lock (_gate) running = [.. _running];
        await Task.WhenAll(running).ConfigureAwait(false);
    }

    private sealed record Entry(object Informer, Func<CancellationToken, Task> Run, Func<CancellationToken, Task> WaitForSync);
}
