using System.Net;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Marks address ranges of Services ready, and keeps one that is being deleted until no Service's address lies in it alone: its finalizer
/// networking.k8s.io/service-cidr-finalizer.
/// </summary>
internal sealed class ServiceCidrController : Controller
{
    private const string Finalizer = "networking.k8s.io/service-cidr-finalizer";
    private const string ManagedByLabel = "ipaddress.kubernetes.io/managed-by";

    // The allocators of all servers have heard of the deletion by then, and take no new address; upstream's figure.
    private static readonly TimeSpan s_grace = TimeSpan.FromSeconds(10);

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1ServiceCIDR> _ranges;
    private readonly Informer<V1IPAddress> _addresses;
    private readonly WorkQueue<string> _queue;

    internal ServiceCidrController(ControllerContext context) : base("service-cidrs-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<string>());
        _ranges = context.Informers.Get(Resources.ServiceCidrs);
        _addresses = context.Informers.Get(Resources.IPAddresses);
        // A new range may free a deleted one that it covers.
        _ranges.AddHandler(new InformerHandler<V1ServiceCIDR>(_ => EnqueueDeleted(), (_, range) => _queue.Add(range.Metadata.Name), _ => EnqueueDeleted()));
        _ranges.AddHandler(new InformerHandler<V1ServiceCIDR>(range => _queue.Add(range.Metadata.Name)));
        _addresses.AddHandler(new InformerHandler<V1IPAddress>(Deleted: _ => EnqueueDeleted()));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private void EnqueueDeleted()
    {
        foreach (var range in _ranges.List())
        {
            if (range.Metadata.DeletionTimestamp is not null) _queue.Add(range.Metadata.Name);
        }
    }

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        if (_ranges.Get(null, name) is not { } range) return;
        if (range.Metadata.DeletionTimestamp is { } deleted)
        {
            if (!MayGo(range))
            {
                await SetReadyAsync(
                    range, "False", "Terminating", "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
                    cancellationToken).ConfigureAwait(false);
                return;
            }
            var left = deleted.ToUniversalTime() + s_grace - _context.Time.GetUtcNow().UtcDateTime;
            if (left > TimeSpan.Zero)
                _queue.AddAfter(name, left);
            else if (Finalizers.IsAwaited(range.Metadata, Finalizer))
                await WriteAsync(range, Finalizers.Without(range.Metadata, Finalizer), cancellationToken).ConfigureAwait(false);
            return;
        }
        if (Finalizers.IsMissing(range.Metadata, Finalizer))
            range = await WriteAsync(range, Finalizers.With(range.Metadata, Finalizer), cancellationToken).ConfigureAwait(false);
        if (range is not null)
            await SetReadyAsync(range, "True", "", "Kubernetes Service CIDR is ready", cancellationToken).ConfigureAwait(false);
    }

    private bool MayGo(V1ServiceCIDR range)
    {
        var others = new List<IPNetwork>();
        foreach (var other in _ranges.List())
        {
            if (other.Metadata.Name != range.Metadata.Name) others.AddRange(Networks(other));
        }
        var own = Networks(range);
        // Whole within other ranges: no address hangs on it.
        if (own.All(network => others.Any(other => Covers(other, network)))) return true;
        foreach (var address in _addresses.List())
        {
            if (address.Metadata.Labels?.TryGetValue(ManagedByLabel, out var manager) != true || manager != "ipallocator.k8s.io"
                || !IPAddress.TryParse(address.Metadata.Name, out var parsed))
                continue;
            if (own.Any(network => network.Contains(parsed)) && !others.Any(network => network.Contains(parsed))) return false;
        }
        return true;
    }

    private static List<IPNetwork> Networks(V1ServiceCIDR range)
    {
        var networks = new List<IPNetwork>();
        foreach (var text in range.Spec?.Cidrs ?? [])
        {
            if (IPNetwork.TryParse(text, out var network)) networks.Add(network);
        }
        return networks;
    }

    private static bool Covers(IPNetwork wide, IPNetwork narrow) => wide.PrefixLength <= narrow.PrefixLength && wide.Contains(narrow.BaseAddress);

    private Task<V1ServiceCIDR?> WriteAsync(V1ServiceCIDR range, V1ObjectMeta metadata, CancellationToken cancellationToken) =>
        Finalizers.WriteAsync(_client, Resources.ServiceCidrs, range with { Metadata = metadata }, cancellationToken);

    private async Task SetReadyAsync(V1ServiceCIDR range, string status, string reason, string message, CancellationToken cancellationToken)
    {
        var old = range.Status?.Conditions?.FirstOrDefault(static condition => condition.Type == "Ready");
        if (old is not null && old.Status == status && (old.Reason ?? "") == reason && old.Message == message) return;
        var ready = new V1Condition
        {
            Type = "Ready", Status = status, Reason = reason, Message = message,
            LastTransitionTime = old?.Status == status ? old.LastTransitionTime : _context.Now,
        };
        var conditions = (range.Status?.Conditions ?? []).Where(static condition => condition.Type != "Ready").Append(ready).ToList();
        await _client.UpdateStatusAsync(
            Resources.ServiceCidrs, range with { Status = new V1ServiceCIDRStatus { Conditions = conditions } }, cancellationToken).ConfigureAwait(false);
    }
}
