using System.Collections.Concurrent;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Empties a namespace that is being deleted, pods first, everything else when they are gone, and then lets it go by taking the kubernetes
/// finalizer from its spec. What is still there is told in its conditions.
/// </summary>
internal sealed class NamespaceController : Controller
{
    private const string KubernetesFinalizer = "kubernetes";

    // Content that stays (finalizers, pods in their grace period) is looked at again after 1 s, 2 s ... 15 s; a pod's end is heard of at once.
    private static readonly TimeSpan s_firstLook = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_lastLook = TimeSpan.FromSeconds(15);

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly DiscoveryCache _discovery;
    private readonly Informer<V1Namespace> _namespaces;
    private readonly WorkQueue<string> _queue;

    // How often a namespace was found not empty yet
    private readonly ConcurrentDictionary<string, int> _looks = new();

    internal NamespaceController(ControllerContext context, DiscoveryCache discovery) : base("namespace-controller")
    {
        (_context, _discovery, _client) = (context, discovery, context.ClientFor(Name));
        _queue = context.Queue<string>();
        _namespaces = context.Informers.Get(Resources.Namespaces);
        _namespaces.AddHandler(value =>
        {
            if (value.Metadata.DeletionTimestamp is not null) _queue.Add(value.Metadata.Name);
        });
        context.Pods.AddHandler(new InformerHandler<V1Pod>(Deleted: pod =>
        {
            var name = pod.Metadata.NamespaceProperty;
            if (_namespaces.Get(null, name)?.Metadata.DeletionTimestamp is not null) _queue.Add(name);
        }));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) =>
        _context.ReconcileAsync(Name, _queue, ReconcileAsync, 2, cancellationToken);

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        // Asked of the server: finalizing must not rest on an old state.
        var value = await _client.FindAsync(Resources.Namespaces, null, name, cancellationToken).ConfigureAwait(false);
        if (value?.Metadata.DeletionTimestamp is null) return;
        if (value.Status?.Phase != "Terminating")
        {
            value = await _client.UpdateStatusAsync(
                Resources.Namespaces, value with { Status = (value.Status ?? new()) with { Phase = "Terminating" } }, cancellationToken).ConfigureAwait(false);
        }
        if (value.Spec?.Finalizers?.Contains(KubernetesFinalizer) != true) return;

        var conditions = new NamespaceConditions();
        await DeleteContentAsync(value, conditions, cancellationToken).ConfigureAwait(false);
        if (conditions.Apply(value.Status ?? new(), _context.Now) is { } status)
        {
            value = await _client.UpdateStatusAsync(Resources.Namespaces, value with { Status = status }, cancellationToken).ConfigureAwait(false);
        }
        if (conditions.Remaining > 0 || conditions.HasFailures)
        {
            LookAgain(name);
            return;
        }
        var finalizers = value.Spec.Finalizers.Where(static finalizer => finalizer != KubernetesFinalizer).ToList();
        await _client.UpdateAsync(Resources.Namespaces, value with { Spec = value.Spec with { Finalizers = finalizers } }, cancellationToken, "finalize")
            .ConfigureAwait(false);
        _looks.TryRemove(name, out _);
    }

    private void LookAgain(string name)
    {
        var looks = _looks.AddOrUpdate(name, 1, static (_, before) => Math.Min(before + 1, 10));
        var delay = s_firstLook * Math.Pow(2, looks - 1);
        _queue.AddAfter(name, delay < s_lastLook ? delay : s_lastLook);
    }

    private async Task DeleteContentAsync(V1Namespace value, NamespaceConditions conditions, CancellationToken cancellationToken)
    {
        var discovered = await _discovery.GetAsync(_client, cancellationToken).ConfigureAwait(false);
        if (discovered.Failures.Count > 0) conditions.DiscoveryFailed(discovered.Failures);
        var resources = discovered.Resources.Where(static resource => resource.IsNamespaced && resource.Verbs.Contains("delete")).ToList();
        foreach (var pods in resources.Where(static resource => resource is { Group: "", Plural: "pods" }))
        {
            await DeleteAllAsync(pods, value.Metadata.Name, conditions, cancellationToken).ConfigureAwait(false);
        }
        // Pods may need their secrets, services and claims until the end.
        if (conditions.Remaining > 0) return;
        foreach (var resource in resources)
        {
            if (resource is { Group: "", Plural: "pods" }) continue;
            await DeleteAllAsync(resource, value.Metadata.Name, conditions, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task DeleteAllAsync(DiscoveredResource resource, string namespaceName, NamespaceConditions conditions, CancellationToken cancellationToken)
    {
        try
        {
            var path = resource.Path(namespaceName);
            var items = await ListAsync(resource, path, cancellationToken).ConfigureAwait(false);
            if (items is not { Count: > 0 }) return;
            await DeleteAsync(resource, namespaceName, items, cancellationToken).ConfigureAwait(false);
            items = await ListAsync(resource, path, cancellationToken).ConfigureAwait(false) ?? [];
            conditions.Remain(resource, items.Count, items.SelectMany(static item => item.Metadata.Finalizers ?? []));
        }
        catch (ApiException refused)
        {
            conditions.Failed(refused.Message);
        }
    }

    private async Task<IReadOnlyList<PartialObject>?> ListAsync(DiscoveredResource resource, string path, CancellationToken cancellationToken)
    {
        if (!resource.Verbs.Contains("list")) return null;
        try
        {
            var list = await _client.Transport.ListAsync(path, cancellationToken).ConfigureAwait(false);
            return [.. list.Items.Select(static item => item.Decode(ModelJson.TypeInfo<PartialObject>()))];
        }
        catch (ApiException missing) when (missing.Code is 404 or 405)
        {
            // Gone since discovery, or answers no list.
            return null;
        }
    }

    private async Task DeleteAsync(
        DiscoveredResource resource, string namespaceName, IReadOnlyList<PartialObject> items, CancellationToken cancellationToken)
    {
        var options = new ReadOnlyMemory<byte>(ModelJson.Serialize(new V1DeleteOptions { ApiVersion = "v1", Kind = "DeleteOptions", PropagationPolicy = "Background" }));
        if (resource.Verbs.Contains("deletecollection"))
        {
            var request = new ApiRequest("DELETE", resource.Path(namespaceName), options, "application/json");
            var answer = await _client.Transport.SendAsync(request, cancellationToken).ConfigureAwait(false);
            if (answer.IsSuccess) return;
            if (answer.StatusCode is not (404 or 405)) throw ApiException.From(answer);
        }
        foreach (var item in items)
        {
            var request = new ApiRequest("DELETE", resource.Path(namespaceName, item.Metadata.Name), options, "application/json");
            var answer = await _client.Transport.SendAsync(request, cancellationToken).ConfigureAwait(false);
            if (!answer.IsSuccess && answer.StatusCode != 404) throw ApiException.From(answer);
        }
    }
}
