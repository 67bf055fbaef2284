using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Controllers;

/// <summary>What every controller is built from: options, the shared informers, a client per identity, events, logs and time.</summary>
internal sealed class ControllerContext
{
    private readonly Func<string, ApiClient> _clientFor;
    private readonly List<EventRecorder> _recorders = [];

    internal ControllerContext(ControllerManagerOptions options, Func<string, ApiClient> clientFor, ILoggerFactory loggers, TimeProvider time)
    {
        (Options, _clientFor, Loggers, Time) = (options, clientFor, loggers, time);
        Informers = new InformerFactory(clientFor(ControllerManager.SharedIdentity), loggers, time);
        Pods = Informers.Get(Resources.Pods, keepsEncoded: true);
        Pods.AddIndex(PodIndex.ByController, Owners.ControllerKeys);
        Pods.AddIndex(PodIndex.ByNode, PodIndex.NodeKeys);
        Pods.AddIndex(PodIndex.ByNamespace, PodIndex.NamespaceKeys);
        Pods.AddIndex(PodIndex.Finished, PodIndex.FinishedKeys);
    }

    internal ControllerManagerOptions Options { get; }

    internal InformerFactory Informers { get; }

    /// <summary>All pods, with the indexes of <see cref="PodIndex"/>.</summary>
    internal Informer<V1Pod> Pods { get; }

    internal ILoggerFactory Loggers { get; }

    internal TimeProvider Time { get; }

    /// <summary>Now, in whole seconds: what objects carry. A finer time would differ from the stored one and cause another update.</summary>
    internal DateTime Now
    {
        get
        {
            var now = Time.GetUtcNow().UtcDateTime;
            return now.AddTicks(-(now.Ticks % TimeSpan.TicksPerSecond));
        }
    }

    internal IReadOnlyList<EventRecorder> Recorders => _recorders;

    internal ApiClient ClientFor(string controller) => _clientFor(controller);

    internal ILogger Logger(string controller) => Loggers.CreateLogger($"K3sFast.Controllers.{controller}");

    /// <summary>A recorder of events that name <paramref name="component"/> as their source.</summary>
    internal EventRecorder Recorder(ApiClient client, string component)
    {
        var recorder = new EventRecorder(client, component, null, Logger(component), Time);
        _recorders.Add(recorder);
        return recorder;
    }

    internal WorkQueue<TKey> Queue<TKey>() where TKey : notnull => new(Time);

    internal Task ReconcileAsync<TKey>(
        string name, WorkQueue<TKey> queue, Func<TKey, CancellationToken, ValueTask> reconcile, int workers, CancellationToken cancellationToken)
        where TKey : notnull => new Reconciler<TKey>(name, queue, reconcile, Logger(name)).RunAsync(workers, cancellationToken);
}
