using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Keeps a persistent volume claim that is being deleted until no pod uses it any more: its finalizer kubernetes.io/pvc-protection.</summary>
internal sealed class ClaimProtectionController : Controller
{
    private const string Finalizer = "kubernetes.io/pvc-protection";

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1PersistentVolumeClaim> _claims;
    private readonly WorkQueue<ObjectKey> _queue;

    internal ClaimProtectionController(ControllerContext context) : base("pvc-protection-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<ObjectKey>());
        _claims = context.Informers.Get(Resources.PersistentVolumeClaims);
        _claims.AddHandler(new InformerHandler<V1PersistentVolumeClaim>(Enqueue, (_, claim) => Enqueue(claim)));
        context.Pods.AddHandler(new InformerHandler<V1Pod>(
            Updated: (_, pod) =>
            {
                if (PodState.IsTerminal(pod)) EnqueueClaims(pod);
            },
            Deleted: EnqueueClaims));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private void Enqueue(V1PersistentVolumeClaim claim)
    {
        if (Finalizers.IsMissing(claim.Metadata, Finalizer) || Finalizers.IsAwaited(claim.Metadata, Finalizer)) _queue.Add(ObjectKey.Of(claim));
    }

    private void EnqueueClaims(V1Pod pod)
    {
        foreach (var volume in pod.Spec?.Volumes ?? [])
        {
            if (ClaimOf(pod, volume) is { } name) _queue.Add(new ObjectKey(pod.Metadata.NamespaceProperty, name));
        }
    }

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_claims.Get(key) is not { } claim) return;
        if (Finalizers.IsMissing(claim.Metadata, Finalizer)) await WriteAsync(Finalizers.With(claim.Metadata, Finalizer)).ConfigureAwait(false);
        else if (Finalizers.IsAwaited(claim.Metadata, Finalizer) && !await IsUsedAsync(claim, cancellationToken).ConfigureAwait(false)) await WriteAsync(Finalizers.Without(claim.Metadata, Finalizer)).ConfigureAwait(false);

        Task WriteAsync(V1ObjectMeta metadata) => Finalizers.WriteAsync(_client, Resources.PersistentVolumeClaims, claim with { Metadata = metadata }, cancellationToken);
    }

    // The informer may be behind: what it does not know is asked of the server before a volume's data is let go.
    private async ValueTask<bool> IsUsedAsync(V1PersistentVolumeClaim claim, CancellationToken cancellationToken)
    {
        var ns = claim.Metadata.NamespaceProperty;
        if (_context.Pods.EachByIndex(PodIndex.ByNamespace, ns).Any(pod => Uses(pod, claim.Metadata.Name))) return true;
        var pods = await _client.ListAsync(Resources.Pods, ns, default, cancellationToken).ConfigureAwait(false);
        return pods.Items.Any(pod => Uses(pod, claim.Metadata.Name));
    }

    private static bool Uses(V1Pod pod, string claim)
    {
        if (string.IsNullOrEmpty(pod.Spec?.NodeName)) return false;
        var isShutDown = pod.Metadata.DeletionTimestamp is not null && pod.Metadata.DeletionGracePeriodSeconds == 0;
        foreach (var volume in pod.Spec.Volumes ?? [])
        {
            // The claim of an ephemeral volume lives as long as its pod's containers.
            if (ClaimOf(pod, volume) == claim && !(volume.Ephemeral is not null && isShutDown)) return true;
        }
        return false;
    }

    private static string? ClaimOf(V1Pod pod, V1Volume volume) =>
        volume.PersistentVolumeClaim is { } source ? source.ClaimName : volume.Ephemeral is not null ? $"{pod.Metadata.Name}-{volume.Name}" : null;
}
