using System.Collections.Concurrent;
using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Status;

/// <summary>
/// Brings pods' statuses to the API: at most one write in flight per pod, newer statuses overtake older ones that wait, the newest is tried until
/// it is there or the pod is gone.
/// </summary>
internal sealed class StatusManager(ApiClient client, TimeProvider time, ILogger logger, CancellationToken stopping)
{
    private static readonly TimeSpan s_firstRetry = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan s_lastRetry = TimeSpan.FromSeconds(10);

    private readonly ConcurrentDictionary<string, Entry> _entries = new();

    /// <summary>The newest status that was set for the pod; null = none since our start.</summary>
    public V1PodStatus? Get(string podUid) => _entries.TryGetValue(podUid, out var entry) ? entry.Status : null;

    /// <summary>The pod shall have this status. <paramref name="apiUid"/> is the UID in the API: a mirror pod's differs from its pod's.</summary>
    public void Set(V1Pod pod, string apiUid, V1PodStatus status)
    {
        var entry = _entries.GetOrAdd(pod.Metadata.Uid, _ => new Entry());
        lock (entry)
        {
            entry.Status = status;
            if (apiUid.Length == 0) return;
            var replaceIPs = entry.WrittenIPs is { } written && written != IPs(status);
            var body = PodStatusPatch.Build(apiUid, status, replaceIPs);
            if (entry.LastBody is { } last && last.AsSpan().SequenceEqual(body)) return;
            entry.LastBody = body;
            entry.WrittenIPs = IPs(status);
            (entry.Namespace, entry.Name, entry.Uid) = (pod.Metadata.NamespaceProperty, pod.Metadata.Name, apiUid);
            entry.Pending = body;
            entry.Idle ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            if (entry.IsWriting) return;
            entry.IsWriting = true;
        }
        _ = WriteAsync(entry);
    }

    /// <summary>Completes when everything set for the pod so far is in the API, or the pod is gone from it.</summary>
    public Task FlushAsync(string podUid, CancellationToken cancellationToken)
    {
        if (!_entries.TryGetValue(podUid, out var entry)) return Task.CompletedTask;
        lock (entry) return entry.Idle?.Task.WaitAsync(cancellationToken) ?? Task.CompletedTask;
    }

    public void Forget(string podUid) => _entries.TryRemove(podUid, out _);

    private static string IPs(V1PodStatus status) => string.Join(',', (status.PodIPs ?? []).Select(ip => ip.Ip));

    private async Task WriteAsync(Entry entry)
    {
        await Task.Yield();
        var retry = s_firstRetry;
        while (!stopping.IsCancellationRequested)
        {
            byte[] body;
            string namespaceName, name, uid;
            lock (entry)
            {
                if (entry.Pending is not { } pending)
                {
                    entry.IsWriting = false;
                    entry.Idle?.TrySetResult();
                    entry.Idle = null;
                    return;
                }
                (body, namespaceName, name, uid) = (pending, entry.Namespace, entry.Name, entry.Uid);
                entry.Pending = null;
            }
            try
            {
                await client.PatchAsync(Resources.Pods, namespaceName, name, PatchBody.StrategicMerge(body), stopping, "status").ConfigureAwait(false);
                retry = s_firstRetry;
            }
            catch (ApiException e) when (e.IsNotFound || e.Code == 409)
            {
                // Gone, or another pod of that name: there is nobody to tell.
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (Exception e) when (e is ApiException or HttpRequestException or IOException)
            {
                if (e is ApiException { IsInvalid: true } or ApiException { IsForbidden: true } && await IsReplacedAsync(namespaceName, name, uid).ConfigureAwait(false)) continue;
                Log.StatusWriteFailed(logger, $"{namespaceName}/{name}", e.Message);
                // Whatever was set meanwhile is newer.
                lock (entry) entry.Pending ??= body;
                try
                {
                    await Task.Delay(retry, time, stopping).ConfigureAwait(false);
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                retry = retry * 2 < s_lastRetry ? retry * 2 : s_lastRetry;
            }
        }
    }

    // Another pod of that name, here or on another node, refuses a status that is not its own: there is nobody to tell.
    private async Task<bool> IsReplacedAsync(string namespaceName, string name, string uid)
    {
        try
        {
            return await client.FindAsync(Resources.Pods, namespaceName, name, stopping).ConfigureAwait(false) is not { } now || now.Metadata.Uid != uid;
        }
        catch (ApiException e) when (e.IsForbidden)
        {
            // What a node may not read is another node's.
            return true;
        }
        catch (Exception e) when (e is ApiException or HttpRequestException or IOException or OperationCanceledException)
        {
            return false;
        }
    }

    // Guarded by a lock on itself.
    private sealed class Entry
    {
        public V1PodStatus? Status;
        public string Namespace = "", Name = "", Uid = "";
        public byte[]? LastBody, Pending;
        public string? WrittenIPs;
        public bool IsWriting;
        public TaskCompletionSource? Idle;
    }
}
