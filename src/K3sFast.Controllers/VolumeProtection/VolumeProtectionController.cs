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
        if (Finalizers.IsMissing(volume.Metadata, Finalizer)) await WriteAsync(Finalizers.With(volume.Metadata, Finalizer)).ConfigureAwait(false);
        else if (Finalizers.IsAwaited(volume.Metadata, Finalizer) && volume.Status?.Phase != "Bound") await WriteAsync(Finalizers.Without(volume.Metadata, Finalizer)).ConfigureAwait(false);

        Task WriteAsync(V1ObjectMeta metadata) => Finalizers.WriteAsync(_client, Resources.PersistentVolumes, volume with { Metadata = metadata }, cancellationToken);
    }
}
