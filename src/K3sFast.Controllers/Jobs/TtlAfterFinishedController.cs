using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Deletes jobs that finished as long ago as their ttlSecondsAfterFinished says.</summary>
internal sealed class TtlAfterFinishedController : Controller
{
    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly WorkQueue<ObjectKey> _queue;

    internal TtlAfterFinishedController(ControllerContext context) : base("ttl-after-finished-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<ObjectKey>());
        context.Informers.Get(Resources.Jobs).AddHandler(new InformerHandler<V1Job>(Changed, (_, job) => Changed(job)));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private void Changed(V1Job job)
    {
        if (job.Spec.TtlSecondsAfterFinished is not null && FinishedAt(job) is not null) _queue.Add(ObjectKey.Of(job));
    }

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        // Asked of the server: the time to live may have been changed a moment ago.
        var job = await _client.FindAsync(Resources.Jobs, key.Namespace, key.Name, cancellationToken).ConfigureAwait(false);
        if (job?.Metadata.DeletionTimestamp is not null || job?.Spec.TtlSecondsAfterFinished is not { } seconds || FinishedAt(job) is not { } finished) return;
        var left = finished.AddSeconds(seconds) - _context.Now;
        if (left > TimeSpan.Zero)
        {
            _queue.AddAfter(key, left);
            return;
        }
        try
        {
            var options = new V1DeleteOptions
            {
                ApiVersion = "v1", Kind = "DeleteOptions", PropagationPolicy = "Foreground", Preconditions = new V1Preconditions { Uid = job.Metadata.Uid },
            };
            await _client.DeleteAsync(Resources.Jobs, key.Namespace, key.Name, cancellationToken, options).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound || gone.IsConflict)
        {
            // Gone already.
        }
    }

    private static DateTime? FinishedAt(V1Job job) => job.Status?.Conditions?
        .FirstOrDefault(static condition => condition is { Type: "Complete" or "Failed", Status: "True" })?.LastTransitionTime;
}
