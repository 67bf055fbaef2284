using K3sFast.Client;
using K3sFast.Kubelet.Cri;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Pods;

/// <summary>
/// Which pods this node shall run: those of the API and those of manifests. One worker per pod, by UID. Also knows the mirrors of static pods, and
/// removes what is left of pods that nobody knows any more.
/// </summary>
internal sealed class PodManager(PodServices services, CancellationToken stopping)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, PodWorker> _workers = [];
    private readonly Dictionary<ObjectKey, V1Pod> _mirrors = [];

    /// <summary>Called after a worker has gone: what waited for its name may go on.</summary>
    public event Action? WorkerGone;

    /// <summary>All pods that have a worker.</summary>
    public IReadOnlyList<PodWorker> Workers
    {
        get
        {
            lock (_gate) return [.. _workers.Values];
        }
    }

    /// <summary>The worker of a pod by name (the newest of that name), or null.</summary>
    public PodWorker? Find(string namespaceName, string name)
    {
        lock (_gate)
        {
            PodWorker? found = null;
            foreach (var worker in _workers.Values)
            {
                var metadata = worker.Pod.Metadata;
                if (metadata.Name != name || metadata.NamespaceProperty != namespaceName) continue;
                if (found is null || metadata.CreationTimestamp > found.Pod.Metadata.CreationTimestamp) found = worker;
            }
            return found;
        }
    }

    /// <summary>Wakes the pod's worker, if there is one.</summary>
    public void Wake(string podUid)
    {
        lock (_gate)
        {
            if (_workers.TryGetValue(podUid, out var worker)) worker.Wake();
        }
    }

    /// <summary>Wakes every worker.</summary>
    public void WakeAll()
    {
        foreach (var worker in Workers) worker.Wake();
    }

    /// <summary>A pod appeared in the API or changed there.</summary>
    public void OnApiPod(V1Pod pod)
    {
        if (pod.IsMirror()) SetMirror(pod);
        else Set(pod, isStatic: false);
    }

    /// <summary>A pod is gone from the API.</summary>
    public void OnApiPodDeleted(V1Pod pod)
    {
        lock (_gate)
        {
            if (pod.IsMirror())
            {
                _mirrors.Remove(ObjectKey.Of(pod));
                return;
            }
            if (_workers.TryGetValue(pod.Metadata.Uid, out var worker)) worker.Remove();
        }
    }

    /// <summary>Static pods are from now on exactly these. A changed pod starts when the old one of its name has gone.</summary>
    public void SetStaticPods(IReadOnlyList<V1Pod> pods)
    {
        foreach (var worker in Workers)
        {
            if (worker.IsStatic && !pods.Any(pod => pod.Metadata.Uid == worker.Pod.Metadata.Uid)) worker.Remove();
        }
        foreach (var pod in pods)
        {
            var old = Find(pod.Metadata.NamespaceProperty, pod.Metadata.Name);
            if (old is null || old.Pod.Metadata.Uid == pod.Metadata.Uid) Set(pod, isStatic: true);
        }
    }

    /// <summary>The API's mirror of a static pod, or null.</summary>
    public V1Pod? Mirror(V1Pod pod)
    {
        lock (_gate) return _mirrors.GetValueOrDefault(ObjectKey.Of(pod));
    }

    /// <summary>Mirrors whose static pod is not there any more.</summary>
    public IReadOnlyList<V1Pod> OrphanedMirrors()
    {
        lock (_gate)
        {
            return [.. _mirrors.Values.Where(mirror => !_workers.Values.Any(worker => worker.IsStatic && ObjectKey.Of(worker.Pod) == ObjectKey.Of(mirror)))];
        }
    }

    /// <summary>Stops and removes what the runtime, the disk and the cgroups still have of pods without a worker. All sources must be known.</summary>
    public async Task CleanOrphansAsync(CancellationToken cancellationToken)
    {
        var orphans = new HashSet<string>();
        foreach (var sandbox in await services.Cri.ListSandboxesAsync(null, cancellationToken).ConfigureAwait(false)) Add(sandbox.Labels);
        foreach (var container in await services.Cri.ListContainersAsync(null, cancellationToken).ConfigureAwait(false)) Add(container.Labels);
        orphans.UnionWith(services.Volumes.ListPods());
        orphans.UnionWith(services.Cgroups.ListPods());
        lock (_gate) orphans.ExceptWith(_workers.Keys);
        foreach (var podUid in orphans)
        {
            Log.CleaningOrphan(services.Logger, podUid);
            try
            {
                await CleanOrphanAsync(podUid, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is Grpc.Core.RpcException or IOException or UnauthorizedAccessException)
            {
                Log.OrphanCleanupFailed(services.Logger, podUid, e.Message);
            }
        }
        CleanLogs();

        void Add(IDictionary<string, string> labels)
        {
            // What is not Kubernetes' is not ours to touch.
            if (labels.TryGetValue(CriLabels.PodUid, out var podUid)) orphans.Add(podUid);
        }
    }

    private async Task CleanOrphanAsync(string podUid, CancellationToken cancellationToken)
    {
        var runtime = await services.Reader.ReadAsync(podUid, cancellationToken).ConfigureAwait(false);
        var stops = new List<Task>();
        foreach (var record in runtime.Containers)
        {
            var grace = record.GracePeriodSeconds ?? services.Options.DefaultGracePeriodSeconds;
            if (record.IsRunning) stops.Add(services.Cri.StopContainerAsync(record.Id, grace, cancellationToken));
        }
        await Task.WhenAll(stops).ConfigureAwait(false);
        foreach (var sandbox in runtime.Sandboxes)
        {
            await services.Cri.StopSandboxAsync(sandbox.Id, cancellationToken).ConfigureAwait(false);
            await services.Cri.RemoveSandboxAsync(sandbox.Id, cancellationToken).ConfigureAwait(false);
        }
        services.Reader.Forget(runtime);
        services.Volumes.TryCleanUp(podUid);
        services.Cgroups.TryRemove(podUid);
    }

    // Log folders are named namespace_name_uid.
    private void CleanLogs()
    {
        if (!Directory.Exists(services.Options.PodLogsDir)) return;
        foreach (var directory in Directory.GetDirectories(services.Options.PodLogsDir))
        {
            var name = Path.GetFileName(directory);
            var uid = name[(name.LastIndexOf('_') + 1)..];
            lock (_gate)
            {
                if (name.Count(c => c == '_') < 2 || _workers.ContainsKey(uid)) continue;
            }
            try
            {
                Directory.Delete(directory, recursive: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                Log.OrphanCleanupFailed(services.Logger, uid, e.Message);
            }
        }
    }

    private void Set(V1Pod pod, bool isStatic)
    {
        lock (_gate)
        {
            if (_workers.TryGetValue(pod.Metadata.Uid, out var known))
            {
                known.Update(pod);
                return;
            }
            // The same name with another UID: the former was deleted while nobody looked.
            if (!isStatic)
            {
                foreach (var other in _workers.Values)
                {
                    if (!other.IsStatic && ObjectKey.Of(other.Pod) == ObjectKey.Of(pod)) other.Remove();
                }
            }
            var worker = new PodWorker(services, pod, isStatic);
            if (isStatic && _mirrors.TryGetValue(ObjectKey.Of(pod), out var mirror)) worker.ApiUid = mirror.Metadata.Uid;
            // A pod that has started here before was admitted then.
            if (!isStatic && pod.Status?.StartTime is null && !pod.IsTerminal() && pod.Metadata.DeletionTimestamp is null)
            {
                var others = _workers.Values.Where(other => other.IsActive).Select(other => other.Pod);
                if (PodAdmission.Check(pod, others, services.Machine.Allocatable, services.Options) is { } refusal)
                {
                    services.Events.Warning(Resources.Pods, pod, refusal.Reason, refusal.Message["Pod was rejected: ".Length..]);
                    worker.Reject(refusal);
                }
            }
            _workers[pod.Metadata.Uid] = worker;
            _ = RunAsync(worker, pod.Metadata.Uid);
        }
    }

    private void SetMirror(V1Pod mirror)
    {
        lock (_gate)
        {
            _mirrors[ObjectKey.Of(mirror)] = mirror;
            foreach (var worker in _workers.Values)
            {
                if (!worker.IsStatic || ObjectKey.Of(worker.Pod) != ObjectKey.Of(mirror) || worker.ApiUid == mirror.Metadata.Uid) continue;
                worker.ApiUid = mirror.Metadata.Uid;
                worker.Wake();
            }
        }
    }

    private async Task RunAsync(PodWorker worker, string podUid)
    {
        // Not on the caller's stack: it holds the lock.
        await Task.Yield();
        try
        {
            await worker.RunAsync(stopping).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return;
        }
        lock (_gate) _workers.Remove(podUid);
        services.Objects.Unregister(podUid);
        WorkerGone?.Invoke();
    }
}
