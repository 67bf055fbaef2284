using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Controllers;

/// <summary>
/// Deletes what has no owner left, and what an owner being deleted in the foreground takes with it; frees dependents of one that orphans. Every
/// decision is made on what the server says now, the graph only tells where to look.
/// </summary>
internal sealed class GarbageCollector : Controller, IGraphListener
{
    private const int Workers = 4;

    // A resource whose first list does not come (a broken aggregated API) holds the collector up this long at most.
    private static readonly TimeSpan s_maxSyncWait = TimeSpan.FromSeconds(30);

    // Owners known to be gone: asked about once, not once per dependent.
    private const int MaxAbsent = 500;

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly DiscoveryCache _discovery;
    private readonly OwnerGraph _graph;
    private readonly GraphMonitors _monitors;
    private readonly GarbageOperations _operations;
    private readonly WorkQueue<string> _deletions;
    private readonly WorkQueue<string> _orphanings;
    private readonly WorkQueue<string> _discoveries;
    private readonly ILogger _logger;

    // Guarded by itself
    private readonly HashSet<string> _absent = [];

    internal GarbageCollector(ControllerContext context, DiscoveryCache discovery) : base("generic-garbage-collector")
    {
        (_context, _discovery, _client) = (context, discovery, context.ClientFor(Name));
        _logger = context.Logger(Name);
        _deletions = context.Queue<string>();
        _orphanings = context.Queue<string>();
        _discoveries = context.Queue<string>();
        _graph = new OwnerGraph(this);
        _monitors = new GraphMonitors(context, _client, _graph);
        _operations = new GarbageOperations(_client, discovery);
        discovery.Changed += () => _discoveries.Add("");
    }

    void IGraphListener.MayDelete(string uid) => _deletions.Add(uid);

    void IGraphListener.MustOrphan(string uid) => _orphanings.Add(uid);

    internal override async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            await FollowAsync("", cancellationToken).ConfigureAwait(false);
            await Task.WhenAll(
                _context.ReconcileAsync(Name, _discoveries, FollowAsync, 1, cancellationToken),
                _context.ReconcileAsync(Name, _deletions, MayDeleteAsync, Workers, cancellationToken),
                _context.ReconcileAsync(Name, _orphanings, OrphanAsync, 1, cancellationToken)).ConfigureAwait(false);
        }
        finally
        {
            await _monitors.WhenStopped().ConfigureAwait(false);
        }
    }

    private async ValueTask FollowAsync(string key, CancellationToken cancellationToken)
    {
        var discovered = await _discovery.GetAsync(_client, cancellationToken).ConfigureAwait(false);
        // A group that fails (an aggregated API that is away) is asked again.
        if (discovered.Failures.Count > 0) _discoveries.AddAfter(key, s_maxSyncWait);
        try
        {
            await _monitors.FollowAsync(discovered, cancellationToken).WaitAsync(s_maxSyncWait, _context.Time, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            Log.Trouble(_logger, Name, "some resources could not be listed yet; going on without them");
        }
    }

    private async ValueTask MayDeleteAsync(string uid, CancellationToken cancellationToken)
    {
        if (_graph.Find(uid) is not { } node) return;
        if (node is { IsVirtual: false, IsBeingDeleted: true, DeletesDependents: false }) return;
        var resource = await _operations.ResolveAsync(node.Group, node.Kind, cancellationToken).ConfigureAwait(false);
        var live = await _operations.GetAsync(resource, node.Namespace, node.Name, cancellationToken).ConfigureAwait(false);
        if (live is null || live.Uid != uid)
        {
            // Also for one that was never seen: its dependents are to be looked at.
            RememberAbsent(uid);
            _graph.Remove(uid);
            return;
        }
        // Seen by the server, and soon by the watch.
        if (node.IsVirtual) return;
        if (live.DeletesDependents)
        {
            await FinishForegroundAsync(node, resource, live, cancellationToken).ConfigureAwait(false);
            return;
        }
        if (live.IsBeingDeleted || live.OwnerReferences is not { Count: > 0 } owners) return;
        await JudgeAsync(node, resource, live, owners, cancellationToken).ConfigureAwait(false);
    }

    private async Task JudgeAsync(
        GraphView node, DiscoveredResource resource, GraphMetadata live, IList<V1OwnerReference> owners, CancellationToken cancellationToken)
    {
        var (solid, dangling, waiting) = (0, new List<string>(), new List<string>());
        foreach (var owner in owners)
        {
            var state = await _operations.LookAsync(owner, live.Namespace, IsKnownAbsent(owner.Uid), cancellationToken).ConfigureAwait(false);
            if (state is OwnerState.Absent)
            {
                RememberAbsent(owner.Uid);
                dangling.Add(owner.Uid);
            }
            else if (state is OwnerState.DeletesDependents)
            {
                waiting.Add(owner.Uid);
            }
            else
            {
                solid++;
            }
        }
        if (solid > 0)
        {
            // Those that are gone or going are let go of; who is left keeps it.
            if (dangling.Count + waiting.Count > 0)
            {
                await _operations.RemoveOwnersAsync(resource, live, [.. dangling, .. waiting], cancellationToken).ConfigureAwait(false);
            }
            return;
        }
        var policy = live.Finalizers switch
        {
            _ when waiting.Count > 0 && node.Dependents.Count > 0 => "Foreground",
            { } finalizers when finalizers.Contains(GraphMetadata.OrphanFinalizer) => "Orphan",
            { } finalizers when finalizers.Contains(GraphMetadata.ForegroundFinalizer) => "Foreground",
            _ => "Background",
        };
        if (waiting.Count > 0 && node.Dependents.Any(static dependent => dependent.DeletesDependents))
        {
            // Two that wait for each other would wait for ever: this one stops blocking its owners.
            await _operations.UnblockOwnersAsync(resource, live, cancellationToken).ConfigureAwait(false);
        }
        await _operations.DeleteAsync(resource, live, policy, cancellationToken).ConfigureAwait(false);
    }

    private async Task FinishForegroundAsync(GraphView node, DiscoveredResource resource, GraphMetadata live, CancellationToken cancellationToken)
    {
        var blocking = node.Dependents.Where(static dependent => dependent.BlocksOwner).ToList();
        if (blocking.Count == 0)
        {
            await _operations.RemoveFinalizerAsync(resource, live, GraphMetadata.ForegroundFinalizer, cancellationToken).ConfigureAwait(false);
            return;
        }
        foreach (var dependent in blocking)
        {
            if (!dependent.DeletesDependents) _deletions.Add(dependent.Uid);
        }
    }

    private async ValueTask OrphanAsync(string uid, CancellationToken cancellationToken)
    {
        if (_graph.Find(uid) is not { IsVirtual: false } node) return;
        var resource = await _operations.ResolveAsync(node.Group, node.Kind, cancellationToken).ConfigureAwait(false);
        foreach (var dependent in node.Dependents)
        {
            if (_graph.Find(dependent.Uid) is not { IsVirtual: false } child) continue;
            var childResource = await _operations.ResolveAsync(child.Group, child.Kind, cancellationToken).ConfigureAwait(false);
            var liveChild = await _operations.GetAsync(childResource, child.Namespace, child.Name, cancellationToken).ConfigureAwait(false);
            if (liveChild is not null && liveChild.Uid == dependent.Uid)
            {
                await _operations.RemoveOwnersAsync(childResource, liveChild, [uid], cancellationToken).ConfigureAwait(false);
            }
        }
        var live = await _operations.GetAsync(resource, node.Namespace, node.Name, cancellationToken).ConfigureAwait(false);
        if (live is null || live.Uid != uid || !live.OrphansDependents) return;
        await _operations.RemoveFinalizerAsync(resource, live, GraphMetadata.OrphanFinalizer, cancellationToken).ConfigureAwait(false);
    }

    private bool IsKnownAbsent(string uid)
    {
        lock (_absent) return _absent.Contains(uid);
    }

    // A uid never comes back: what is absent once stays so.
    private void RememberAbsent(string uid)
    {
        lock (_absent)
        {
            if (_absent.Count >= MaxAbsent) _absent.Clear();
            _absent.Add(uid);
        }
    }
}
