using K3sFast.ApiMachinery;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Watches what quotas count, and tells when something goes away or uses less. Only resources that some quota names are watched: a cluster without quotas
/// pays nothing. Pods, services and claims come from the informers that others share.
/// </summary>
internal sealed class QuotaMonitors
{
    private static readonly TimeSpan s_backoff = TimeSpan.FromSeconds(1);

    private readonly ApiClient _client;
    private readonly TimeProvider _time;
    private readonly Action<string, QuotaEvaluator> _replenish;
    private readonly Lock _gate = new();

    // Guarded by _gate: the watch of each resource, once some quota named it
    private readonly Dictionary<DiscoveredResource, Task> _watches = [];

    internal QuotaMonitors(ControllerContext context, ApiClient client, Action<string, QuotaEvaluator> replenish)
    {
        (_client, _time, _replenish) = (client, context.Time, replenish);
        var pods = QuotaEvaluator.For("", "pods");
        context.Pods.AddHandler(new InformerHandler<V1Pod>(
            Updated: (old, pod) =>
            {
                if (PodState.IsTerminal(pod) && !PodState.IsTerminal(old) || old.Metadata.Generation != pod.Metadata.Generation) replenish(pod.Metadata.NamespaceProperty, pods);
            },
            Deleted: pod => replenish(pod.Metadata.NamespaceProperty, pods)));
        var services = QuotaEvaluator.For("", "services");
        context.Informers.Get(Resources.Services).AddHandler(new InformerHandler<V1Service>(
            Updated: (old, service) =>
            {
                if (old.Spec?.Type != service.Spec?.Type || old.Spec?.Ports?.Count != service.Spec?.Ports?.Count) replenish(service.Metadata.NamespaceProperty, services);
            },
            Deleted: service => replenish(service.Metadata.NamespaceProperty, services)));
        var claims = QuotaEvaluator.For("", "persistentvolumeclaims");
        context.Informers.Get(Resources.PersistentVolumeClaims).AddHandler(new InformerHandler<V1PersistentVolumeClaim>(
            Updated: (_, claim) => replenish(claim.Metadata.NamespaceProperty, claims),
            Deleted: claim => replenish(claim.Metadata.NamespaceProperty, claims)));
    }

    /// <summary>Makes sure that these are watched; completes when what happens from now on will be told.</summary>
    internal Task WatchAsync(List<CountedResource> counted, CancellationToken cancellationToken)
    {
        var starting = new List<Task>();
        foreach (var (resource, evaluator) in counted)
        {
            if (resource is { Group: "", Plural: "pods" or "services" or "persistentvolumeclaims" }) continue;
            lock (_gate)
            {
                if (_watches.TryGetValue(resource, out var running) && !running.IsCompleted) continue;
                var listed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                _watches[resource] = FollowAsync(resource, evaluator, listed, cancellationToken);
                starting.Add(listed.Task);
            }
        }
        return Task.WhenAll(starting).WaitAsync(cancellationToken);
    }

    /// <summary>Completes when all watches have ended, which they do when cancelled.</summary>
    internal Task WhenStopped()
    {
        lock (_gate) return Task.WhenAll(_watches.Values);
    }

    private async Task FollowAsync(DiscoveredResource resource, QuotaEvaluator evaluator, TaskCompletionSource listed, CancellationToken cancellationToken)
    {
        var version = "";
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                if (version.Length == 0)
                {
                    version = (await _client.Transport.ListAsync(resource.Path() + "?limit=1", cancellationToken).ConfigureAwait(false)).ResourceVersion;
                    listed.TrySetResult();
                }
                await foreach (var frame in _client.Transport.WatchAsync(
                    $"{resource.Path()}?watch=true&allowWatchBookmarks=true&resourceVersion={version}", cancellationToken).ConfigureAwait(false))
                {
                    var metadata = frame.Object.Decode(GraphJsonContext.Default.GraphObject).Metadata;
                    version = metadata.ResourceVersion;
                    if (frame.Type == WatchFrameType.Deleted) _replenish(metadata.Namespace, evaluator);
                }
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (ApiException gone) when (gone.Code is 404 or 405)
            {
                // No longer served: its objects are gone with it. A quota that names it again starts anew.
                listed.TrySetResult();
                return;
            }
            catch (Exception failure) when (failure is ApiException or HttpRequestException or IOException or System.Text.Json.JsonException)
            {
                // Missed what happened meanwhile: the periodic count finds it.
                version = "";
                listed.TrySetResult();
            }
            try
            {
                await Task.Delay(s_backoff, _time, cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }
}
