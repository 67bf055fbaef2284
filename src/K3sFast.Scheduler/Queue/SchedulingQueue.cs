using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>A pod that waits for a node, and what is known of its tries.</summary>
internal sealed class QueuedPod(V1Pod pod, long number)
{
    internal PodInfo Info { get; set; } = new(pod);

    /// <summary>Order of arrival among pods of the same priority.</summary>
    internal long Number { get; } = number;

    internal int Attempts { get; set; }

    /// <summary>When the last try failed.</summary>
    internal DateTimeOffset FailedAt { get; set; }

    /// <summary>What could make the next try succeed.</summary>
    internal ClusterEvents WakeUp { get; set; }

    internal QueuePlace Place { get; set; }

    /// <summary>Raised when it is put anywhere: heap entries of earlier places are stale.</summary>
    internal int Version { get; set; }
}

/// <summary>Where a waiting pod is.</summary>
internal enum QueuePlace : byte
{
    Nowhere,
    Gated,
    Active,
    Backoff,
    Unschedulable,
}

/// <summary>
/// Pods that wait: to be tried now (by priority, then age), for their back-off to end, for an event that may help them, or for their
/// scheduling gates. Owned by the scheduling loop. Pods wait without any polling: <see cref="NextDue"/> tells when time alone moves one.
/// </summary>
internal sealed class SchedulingQueue(TimeProvider time, TimeSpan firstBackoff, TimeSpan lastBackoff)
{
    // A pod that no event woke for so long is tried anyway (upstream: 5 minutes).
    private static readonly TimeSpan s_maxUnschedulable = TimeSpan.FromMinutes(5);

    private readonly Dictionary<string, QueuedPod> _pods = [];
    private readonly PriorityQueue<(QueuedPod Pod, int Version), (int Priority, long Number)> _active = new();
    private readonly PriorityQueue<(QueuedPod Pod, int Version), DateTimeOffset> _delayed = new();
    private long _number;

    internal int Count => _pods.Count;

    internal bool Contains(string uid) => _pods.ContainsKey(uid);

    /// <summary>Takes in a new pod, or a newer state of a waiting one: a change of what it asks for makes it be tried again.</summary>
    internal void Put(V1Pod pod)
    {
        if (!_pods.TryGetValue(pod.Metadata.Uid, out var queued))
        {
            queued = new QueuedPod(pod, ++_number);
            _pods[pod.Metadata.Uid] = queued;
            if (pod.Spec.SchedulingGates is { Count: > 0 }) queued.Place = QueuePlace.Gated;
            else Activate(queued);
            return;
        }
        var old = queued.Info.Pod;
        queued.Info = new PodInfo(pod);
        switch (queued.Place)
        {
            case QueuePlace.Gated when pod.Spec.SchedulingGates is not { Count: > 0 }:
                Activate(queued);
                break;
            // Status writes (our own condition among them) are not changes of what is asked for.
            case QueuePlace.Unschedulable when (old.Metadata.Generation ?? 0) != (pod.Metadata.Generation ?? 0) || LabelsDiffer(old, pod):
                Wake(queued);
                break;
        }
    }

    internal void Remove(string uid)
    {
        if (_pods.Remove(uid, out var queued)) (queued.Place, queued.Version) = (QueuePlace.Nowhere, queued.Version + 1);
    }

    /// <summary>The next pod to try, or null. It stays known until it is removed, and is to be given back by <see cref="Failed"/> otherwise.</summary>
    internal QueuedPod? Take()
    {
        while (_active.TryDequeue(out var entry, out _))
        {
            if (entry.Pod.Version != entry.Version) continue;
            entry.Pod.Place = QueuePlace.Nowhere;
            entry.Pod.Version++;
            entry.Pod.Attempts++;
            return entry.Pod;
        }
        return null;
    }

    /// <summary>A try failed: the pod waits for one of <paramref name="wakeUp"/>; none of them means a mishap that time alone heals.</summary>
    internal void Failed(QueuedPod queued, ClusterEvents wakeUp)
    {
        if (!_pods.ContainsKey(queued.Info.Pod.Metadata.Uid)) return;
        queued.FailedAt = time.GetUtcNow();
        queued.WakeUp = wakeUp;
        queued.Version++;
        if (wakeUp == ClusterEvents.None)
        {
            Delay(queued, QueuePlace.Backoff, queued.FailedAt + Backoff(queued));
            return;
        }
        Delay(queued, QueuePlace.Unschedulable, queued.FailedAt + s_maxUnschedulable);
    }

    /// <summary>Something happened: pods that it may help are tried again, each after its back-off.</summary>
    internal void Wake(ClusterEvents happened)
    {
        foreach (var queued in _pods.Values)
        {
            if (queued.Place == QueuePlace.Unschedulable && (queued.WakeUp & happened) != 0) Wake(queued);
        }
    }

    /// <summary>One pod is tried again after its back-off.</summary>
    internal void Wake(string uid)
    {
        if (_pods.TryGetValue(uid, out var queued) && queued.Place == QueuePlace.Unschedulable) Wake(queued);
    }

    /// <summary>Activates the pods whose time has come.</summary>
    internal void MoveDue()
    {
        var now = time.GetUtcNow();
        while (_delayed.TryPeek(out var entry, out var due) && due <= now)
        {
            _delayed.Dequeue();
            if (entry.Pod.Version == entry.Version) Activate(entry.Pod);
        }
    }

    /// <summary>When <see cref="MoveDue"/> has something to do; null = never.</summary>
    internal DateTimeOffset? NextDue
    {
        get
        {
            while (_delayed.TryPeek(out var entry, out var due))
            {
                if (entry.Pod.Version == entry.Version) return due;
                _delayed.Dequeue();
            }
            return null;
        }
    }

    private void Wake(QueuedPod queued)
    {
        var due = queued.FailedAt + Backoff(queued);
        queued.Version++;
        if (due <= time.GetUtcNow()) Activate(queued);
        else Delay(queued, QueuePlace.Backoff, due);
    }

    private void Activate(QueuedPod queued)
    {
        queued.Place = QueuePlace.Active;
        queued.Version++;
        _active.Enqueue((queued, queued.Version), (-queued.Info.Priority, queued.Number));
    }

    private void Delay(QueuedPod queued, QueuePlace place, DateTimeOffset due)
    {
        queued.Place = place;
        _delayed.Enqueue((queued, queued.Version), due);
    }

    private TimeSpan Backoff(QueuedPod queued)
    {
        var backoff = firstBackoff * Math.Pow(2, Math.Min(queued.Attempts - 1, 20));
        return backoff < lastBackoff ? backoff : lastBackoff;
    }

    private static bool LabelsDiffer(V1Pod a, V1Pod b)
    {
        var (left, right) = (a.Metadata.Labels, b.Metadata.Labels);
        if ((left?.Count ?? 0) != (right?.Count ?? 0)) return true;
        foreach (var (key, value) in left ?? new Dictionary<string, string>())
        {
            if (!right!.TryGetValue(key, out var other) || other != value) return true;
        }
        return false;
    }
}
