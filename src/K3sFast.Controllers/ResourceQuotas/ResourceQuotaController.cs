using K3sFast.ApiMachinery;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Counts what the objects of a namespace use and writes it to the status of its quotas: when a quota is made or changed, when something that it counts
/// goes away, and now and then. Admission only adds; that usage falls again is this controller's doing.
/// </summary>
internal sealed class ResourceQuotaController : Controller
{
    // Upstream counts everything anew this often, in case an event was missed or a write failed after it was charged.
    private static readonly TimeSpan s_resync = TimeSpan.FromMinutes(5);

    // A write is charged a moment before it is stored. Before usage is lowered, those under way get this long to show up.
    private static readonly TimeSpan s_settle = TimeSpan.FromMilliseconds(100);

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1ResourceQuota> _quotas;
    private readonly QuotaMonitors _monitors;
    private readonly QuotaUsage _usage;
    private readonly WorkQueue<ObjectKey> _queue;

    internal ResourceQuotaController(ControllerContext context, DiscoveryCache discovery) : base("resourcequota-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<ObjectKey>());
        _quotas = context.Informers.Get(Resources.ResourceQuotas);
        _quotas.AddHandler(new InformerHandler<V1ResourceQuota>(Enqueue, (old, quota) =>
        {
            if (!Same(old.Spec?.Hard, quota.Spec?.Hard) || !Same(quota.Spec?.Hard, quota.Status?.Hard)) Enqueue(quota);
        }));
        _usage = new QuotaUsage(_client, discovery, context.Time);
        _monitors = new QuotaMonitors(context, _client, Replenish);
        discovery.Changed += EnqueueAll;
    }

    internal override async Task RunAsync(CancellationToken cancellationToken)
    {
        await Task.WhenAll(_context.ReconcileAsync(Name, _queue, ReconcileAsync, 2, cancellationToken), ResyncAsync(cancellationToken)).ConfigureAwait(false);
        await _monitors.WhenStopped().ConfigureAwait(false);
    }

    private void Enqueue(V1ResourceQuota quota) => _queue.Add(ObjectKey.Of(quota));

    private void EnqueueAll()
    {
        foreach (var quota in _quotas.List()) Enqueue(quota);
    }

    // Something that may be counted is gone, or uses less.
    private void Replenish(string ns, QuotaEvaluator evaluator)
    {
        foreach (var quota in _quotas.List(ns))
        {
            if (quota.Spec?.Hard?.Keys.Any(evaluator.Uses) == true) Enqueue(quota);
        }
    }

    private async Task ResyncAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await Task.Delay(s_resync, _context.Time, cancellationToken).ConfigureAwait(false);
                EnqueueAll();
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        var path = Resources.ResourceQuotas.Path(key.Namespace, key.Name);
        // Asked of the server, since the status must be written over the state that was counted for; by a list, since that is what the role allows.
        var list = $"{Resources.ResourceQuotas.Path(key.Namespace)}?fieldSelector={Uri.EscapeDataString("metadata.name=" + key.Name)}";
        var answer = await _client.Transport.SendAsync(new ApiRequest("GET", list), cancellationToken).ConfigureAwait(false);
        if (!answer.IsSuccess) throw ApiException.From(answer);
        using var found = JsonCodec.Decode(answer.Body.Span, null, DecodeOptions.Free, null);
        var quota = found.Root["items"u8][0];
        if (!quota.IsDefined) return;
        ApiNode spec = quota["spec"u8], status = quota["status"u8];
        ResourceAmounts hard = ResourceAmounts.Read(spec["hard"u8]), stored = ResourceAmounts.Read(status["used"u8]);
        var counted = await _usage.ResourcesOfAsync(hard.Keys, cancellationToken).ConfigureAwait(false);
        await _monitors.WatchAsync(counted, cancellationToken).ConfigureAwait(false);
        var scopes = QuotaScope.Of(spec);
        var used = await CountAsync(key, hard, stored, counted, scopes, cancellationToken).ConfigureAwait(false);
        if (used.Any(pair => stored.TryGetValue(pair.Key, out var before) && pair.Value < before))
        {
            await Task.Delay(s_settle, _context.Time, cancellationToken).ConfigureAwait(false);
            used = await CountAsync(key, hard, stored, counted, scopes, cancellationToken).ConfigureAwait(false);
        }
        var isDone = !status["hard"u8].IsNullOrUndefined && !status["used"u8].IsNullOrUndefined && hard.SameAs(ResourceAmounts.Read(status["hard"u8]))
            && used.SameAs(stored);
        if (isDone) return;
        quota.Set("kind"u8, Resources.ResourceQuotas.Kind);
        quota.Set("apiVersion"u8, Resources.ResourceQuotas.ApiVersion);
        var written = quota.GetOrAddObject("status"u8);
        hard.WriteTo(written, "hard"u8);
        used.WriteTo(written, "used"u8);
        var body = new System.Buffers.ArrayBufferWriter<byte>();
        quota.WriteJson(body);
        answer = await _client.Transport.SendAsync(new ApiRequest("PUT", path + "/status", body.WrittenMemory, "application/json"), cancellationToken).ConfigureAwait(false);
        if (!answer.IsSuccess && answer.StatusCode != 404) throw ApiException.From(answer);
    }

    // What was used of names that nobody can count is kept, as upstream does.
    private async Task<ResourceAmounts> CountAsync(
        ObjectKey key, ResourceAmounts hard, ResourceAmounts stored, List<CountedResource> counted, List<QuotaScope> scopes, CancellationToken cancellationToken)
    {
        var used = stored.Copy();
        foreach (var (name, amount) in await _usage.CountAsync(key.Namespace, hard.Keys, counted, scopes, cancellationToken).ConfigureAwait(false))
            used[name] = amount;
        return used.Only(hard.Keys);
    }

    private static bool Same(IDictionary<string, ResourceQuantity>? a, IDictionary<string, ResourceQuantity>? b)
    {
        if ((a?.Count ?? 0) != (b?.Count ?? 0)) return false;
        foreach (var (name, amount) in a ?? new Dictionary<string, ResourceQuantity>())
        {
            if (!b!.TryGetValue(name, out var other) || other.ToString() != amount.ToString()) return false;
        }
        return true;
    }
}
