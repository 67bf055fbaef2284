using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>What happens in the cluster, brought into the loop's state.</summary>
public sealed partial class Scheduler
{
    private void Apply(in Change change)
    {
        switch (change.Kind)
        {
            case ChangeKind.PodSet:
                PodSet(change.Pod!);
                break;
            case ChangeKind.PodGone:
                PodGone(change.Pod!);
                break;
            case ChangeKind.NodeSet:
                NodeSet(change.OldNode, change.Node!);
                break;
            case ChangeKind.NodeGone:
                _state.RemoveNode(change.Node!.Metadata.Name);
                _queue.Wake(ClusterEvents.NodeRemoved);
                break;
            case ChangeKind.NamespaceLabels:
                _queue.Wake(ClusterEvents.PodAssigned);
                break;
            case ChangeKind.BindDone:
                _writes.Remove(change.Number!);
                if (change.Failure is not null) BindFailed(change.Queued!, change.Failure);
                break;
            case ChangeKind.WriteDone:
                _writes.Remove(change.Number!);
                break;
        }
    }

    private void PodSet(V1Pod pod)
    {
        var uid = new ObjectUid(pod.Metadata.Uid);
        var isTerminal = pod.Status?.Phase is "Succeeded" or "Failed";
        if (!string.IsNullOrEmpty(pod.Spec.NodeName))
        {
            _queue.Remove(pod.Metadata.Uid);
            _state.RemoveNomination(uid);
            if (isTerminal) PodGone(pod);
            else PlacedPodSet(pod);
            return;
        }
        // Bound by us, and this is what was before it.
        if (_state.FindPlaced(uid) is not null) return;
        if (isTerminal || pod.Metadata.DeletionTimestamp is not null)
        {
            _queue.Remove(pod.Metadata.Uid);
            _state.RemoveNomination(uid);
            return;
        }
        if ((pod.Spec.SchedulerName ?? _options.SchedulerName) != _options.SchedulerName) return;
        _queue.Put(pod);
        // Nominated by an earlier life of the scheduler.
        if (pod.Status?.NominatedNodeName is { Length: > 0 } node) _state.Nominate(new PodInfo(pod), node);
    }

    private void PlacedPodSet(V1Pod pod)
    {
        var now = PodInfo.Placed(pod, _sharedTraits);
        var before = _state.FindPlaced(now.Uid);
        _state.Place(now, pod.Spec.NodeName);
        if (before is not { } old)
        {
            _queue.Wake(ClusterEvents.PodAssigned);
            return;
        }
        if (!SameLabels(old.Labels, pod.Metadata.Labels)) _queue.Wake(ClusterEvents.PodAssigned);
        if (!old.Requests.SameAs(now.Requests)) _queue.Wake(ClusterEvents.PodShrunk);
    }

    private void PodGone(V1Pod pod)
    {
        var uid = new ObjectUid(pod.Metadata.Uid);
        _queue.Remove(pod.Metadata.Uid);
        _state.RemoveNomination(uid);
        if (_state.Remove(uid)) _queue.Wake(ClusterEvents.PodRemoved);
    }

    private void NodeSet(V1Node? old, V1Node node)
    {
        var known = _state.Find(node.Metadata.Name);
        var allocatable = known?.Allocatable;
        var allowedPods = known?.AllowedPods;
        _state.SetNode(node);
        if (known is null)
        {
            _queue.Wake(ClusterEvents.NodeAdded);
            return;
        }
        var happened = ClusterEvents.None;
        if (!known.Allocatable.SameAs(allocatable!) || known.AllowedPods != allowedPods) happened |= ClusterEvents.NodeAllocatable;
        if (!SameLabels(old?.Metadata.Labels, node.Metadata.Labels)) happened |= ClusterEvents.NodeLabels;
        if ((old?.Spec?.Unschedulable ?? false) != (node.Spec?.Unschedulable ?? false) || !SameTaints(old?.Spec?.Taints, node.Spec?.Taints))
        {
            happened |= ClusterEvents.NodeTaints;
        }
        // A node whose taint or cordon goes is as good as a new one.
        if ((happened & ClusterEvents.NodeTaints) != 0) happened |= ClusterEvents.NodeAdded;
        if (happened != ClusterEvents.None) _queue.Wake(happened);
    }

    private void BindFailed(QueuedPod queued, string message)
    {
        var uid = queued.Info.Uid;
        // Seen as bound (by whomever) or gone meanwhile: nothing to take back.
        if (!_queue.Contains(queued.Info.Pod.Metadata.Uid)) return;
        if (_state.Remove(uid)) _queue.Wake(ClusterEvents.PodRemoved);
        _queue.Failed(queued, ClusterEvents.None);
        _events.Record(EventRecorder.Reference(Resources.Pods, queued.Info.Pod), null, "Warning", "FailedScheduling", "Scheduling", $"binding rejected: {message}");
        WriteCondition(queued.Info, "SchedulerError", $"binding rejected: {message}", null);
    }

    private static bool SameTaints(IList<V1Taint>? a, IList<V1Taint>? b)
    {
        if ((a?.Count ?? 0) != (b?.Count ?? 0)) return false;
        for (var i = 0; i < (a?.Count ?? 0); i++)
        {
            if (a![i].Key != b![i].Key || a[i].Value != b[i].Value || a[i].Effect != b[i].Effect) return false;
        }
        return true;
    }

    private static bool SameLabels(IDictionary<string, string>? a, IDictionary<string, string>? b)
    {
        if ((a?.Count ?? 0) != (b?.Count ?? 0)) return false;
        foreach (var (key, value) in a ?? s_noLabels)
        {
            if (!b!.TryGetValue(key, out var other) || other != value) return false;
        }
        return true;
    }

    private static readonly Dictionary<string, string> s_noLabels = [];
}
