using System.Threading.Channels;
using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Scheduler;

/// <summary>
/// kube-scheduler's place: finds a node for each pending pod and binds it there. One loop owns all state; informers and finished writes only
/// post to its mailbox. It sleeps until something happens: nothing is polled.
/// </summary>
public sealed partial class Scheduler
{
    private const string Component = "default-scheduler";

    // Immutable after construction
    private readonly SchedulerOptions _options;
    private readonly ApiClient _client;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly InformerFactory _informers;
    private readonly Informer<V1Pod> _pods;
    private readonly Informer<V1Node> _nodes;
    private readonly Informer<V1Namespace> _namespaces;
    private readonly Informer<V1PodDisruptionBudget> _budgets;
    private readonly SeriesRecorder _events;
    private readonly Channel<Change> _mailbox = Channel.CreateUnbounded<Change>(new UnboundedChannelOptions { SingleReader = true });

    // Owned by the loop
    private readonly ClusterState _state = new();
    private readonly SharedTraits _sharedTraits = new();
    private readonly SchedulingQueue _queue;
    private readonly Placement _placement;
    private readonly Preemptor _preemptor;
    private readonly Dictionary<string, Task> _writes = [];
    private long _writeNumber;

    /// <summary>A scheduler that acts as system:kube-scheduler.</summary>
    public Scheduler(SchedulerOptions options, ApiClient client, ILoggerFactory loggers, TimeProvider? time = null)
    {
        (_options, _client, _time) = (options, client, time ?? TimeProvider.System);
        _logger = loggers.CreateLogger("K3sFast.Scheduler");
        _informers = new InformerFactory(client, loggers, time);
        _pods = _informers.Get(Resources.Pods, keepsEncoded: true);
        _nodes = _informers.Get(Resources.Nodes);
        _namespaces = _informers.Get(Resources.Namespaces);
        _budgets = _informers.Get(Resources.PodDisruptionBudgets);
        _events = new SeriesRecorder(client, Component, _logger, time);
        _queue = new SchedulingQueue(_time, options.FirstBackoff, options.LastBackoff);
        _placement = new Placement(_state, options, name => _namespaces.Get(null, name)?.Metadata.Labels);
        _preemptor = new Preemptor(_state, _placement, () => _budgets.List());
        _pods.AddHandler(new InformerHandler<V1Pod>(
            pod => Post(new Change(ChangeKind.PodSet, Pod: pod)),
            (old, pod) => Post(new Change(ChangeKind.PodSet, Pod: pod, OldPod: old)),
            pod => Post(new Change(ChangeKind.PodGone, Pod: pod))));
        _nodes.AddHandler(new InformerHandler<V1Node>(
            node => Post(new Change(ChangeKind.NodeSet, Node: node)),
            (old, node) => Post(new Change(ChangeKind.NodeSet, Node: node, OldNode: old)),
            node => Post(new Change(ChangeKind.NodeGone, Node: node))));
        // Labels of a namespace decide whom an affinity term means.
        _namespaces.AddHandler(new InformerHandler<V1Namespace>(Updated: (old, now) =>
        {
            if (!SameLabels(old.Metadata.Labels, now.Metadata.Labels)) Post(new Change(ChangeKind.NamespaceLabels));
        }));
    }

    /// <summary>Runs until cancelled. Bindings that are under way then are waited for.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var informers = _informers.RunAsync(cancellationToken);
        var events = _events.RunAsync(cancellationToken);
        using var timer = _time.CreateTimer(
            static scheduler => ((Scheduler)scheduler!).Post(new Change(ChangeKind.Tick)), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        try
        {
            await _informers.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
            Drain();
            Log.Started(_logger, _state.Nodes.Count, _state.PlacedPods, _queue.Count);
            while (true)
            {
                Drain();
                _queue.MoveDue();
                if (_writes.Count < _options.MaxBindings && _queue.Take() is { } queued)
                {
                    Schedule(queued);
                    continue;
                }
                SetTimer(timer);
                await _mailbox.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Told to stop.
        }
        await Task.WhenAll(_writes.Values).ConfigureAwait(false);
        await Task.WhenAll(informers, events).ConfigureAwait(false);
    }

    private void Post(Change change) => _mailbox.Writer.TryWrite(change);

    private void SetTimer(ITimer timer)
    {
        var wait = _queue.NextDue - _time.GetUtcNow();
        timer.Change(wait is not { } due ? Timeout.InfiniteTimeSpan : due > TimeSpan.Zero ? due : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
    }

    private void Drain()
    {
        while (_mailbox.Reader.TryRead(out var change)) Apply(change);
    }

    private void Schedule(QueuedPod queued)
    {
        var pod = queued.Info;
        try
        {
            if (_placement.Find(pod, out var refusal) is { } node)
            {
                Bind(queued, node);
                return;
            }
            var victims = _preemptor.Find(pod, refusal, out var preemption);
            var message = preemption.Length == 0 ? refusal.ToString() : $"{refusal} {preemption}";
            _events.Record(EventRecorder.Reference(Resources.Pods, pod.Pod), null, "Warning", "FailedScheduling", "Scheduling", message);
            if (victims is not null) Preempt(pod, victims);
            // Without any node there is no filter to say what would help: a node would.
            var wakeUp = refusal.WakeUp == ClusterEvents.None ? ClusterEvents.All : refusal.WakeUp;
            _queue.Failed(queued, victims is null ? wakeUp : wakeUp | ClusterEvents.PodRemoved);
            WriteCondition(pod, "Unschedulable", message, victims?.Node);
        }
        catch (Exception bug)
        {
            // One pod's odd spec must not stop the others.
            Log.CycleFailed(_logger, pod.FullName, bug);
            _events.Record(EventRecorder.Reference(Resources.Pods, pod.Pod), null, "Warning", "FailedScheduling", "Scheduling", bug.Message);
            _queue.Failed(queued, ClusterEvents.None);
        }
    }

    // The pod counts on the node from now on; the API is told meanwhile.
    private void Bind(QueuedPod queued, NodeInfo node)
    {
        var pod = queued.Info;
        _state.Place(pod, node.Name);
        Start(number => BindAsync(number, queued, node.Name));
    }

    private async Task BindAsync(string number, QueuedPod queued, string node)
    {
        var pod = queued.Info.Pod;
        string? failure = null;
        try
        {
            await _client.BindAsync(pod, node, CancellationToken.None).ConfigureAwait(false);
            _events.Record(EventRecorder.Reference(Resources.Pods, pod), null, "Normal", "Scheduled", "Binding",
                $"Successfully assigned {pod.Metadata.NamespaceProperty}/{pod.Metadata.Name} to {node}");
        }
        catch (Exception refused) when (refused is ApiException or HttpRequestException or IOException or OperationCanceledException)
        {
            Log.BindFailed(_logger, queued.Info.FullName, node, refused.Message);
            failure = refused.Message;
        }
        Post(new Change(ChangeKind.BindDone, Queued: queued, Number: number, Failure: failure));
    }

    private void Start(Func<string, Task> write)
    {
        var number = (++_writeNumber).ToString(System.Globalization.CultureInfo.InvariantCulture);
        var task = write(number);
        _writes[number] = task;
    }
}
