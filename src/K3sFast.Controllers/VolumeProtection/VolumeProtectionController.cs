using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Keeps a persistent volume that is being deleted while a claim is bound to it: its finalizer kubernetes.io/pv-protection.</summary>
internal sealed class VolumeProtectionController : Controller
{
    private const string Finalizer = "kubernetes.io/pv-protection";

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1PersistentVolume> _volumes;
    private readonly WorkQueue<string> _queue;

    internal VolumeProtectionController(ControllerContext context) : base("pv-protection-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<string>());
        _volumes = context.Informers.Get(Resources.PersistentVolumes);
        _volumes.AddHandler(new InformerHandler<V1PersistentVolume>(
            volume => _queue.Add(volume.Metadata.Name), (_, volume) => _queue.Add(volume.Metadata.Name)));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        if (_volumes.Get(null, name) is not { } volume) return;
        var isProtected = volume.Metadata.Finalizers?.Contains(Finalizer) == true;
        List<string> finalizers;
        if (volume.Metadata.DeletionTimestamp is null)
        {
            if (isProtected) return;
            finalizers = [.. volume.Metadata.Finalizers ?? [], Finalizer];
        }
        else
        {
            if (!isProtected || volume.Status?.Phase == "Bound") return;
            finalizers = [.. volume.Metadata.Finalizers!.Where(static candidate => candidate != Finalizer)];
        }
        try
        {
            var metadata = volume.Metadata with { Finalizers = finalizers.Count == 0 ? null : finalizers };
            await _client.UpdateAsync(Resources.PersistentVolumes, volume with { Metadata = metadata }, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            // Somebody else took the last finalizer.
        }
    }
}
