using System.Globalization;
using System.Text;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Deletes bootstrap tokens (Secrets of kube-system) when they expire.</summary>
internal sealed class TokenCleaner : Controller
{
    private const string SecretType = "bootstrap.kubernetes.io/token";
    private const string Namespace = "kube-system";

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1Secret> _secrets;
    private readonly WorkQueue<string> _queue;

    internal TokenCleaner(ControllerContext context) : base("token-cleaner")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<string>());
        _secrets = context.Informers.Get(Resources.Secrets, Namespace, new ListOptions(FieldSelector: $"type={SecretType}"));
        _secrets.AddHandler(new InformerHandler<V1Secret>(secret => _queue.Add(secret.Metadata.Name), (_, secret) => _queue.Add(secret.Metadata.Name)));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        if (_secrets.Get(Namespace, name) is not { } secret || secret.Data?.TryGetValue("expiration", out var text) != true) return;
        // What cannot be read has expired.
        var left = DateTimeOffset.TryParse(Encoding.UTF8.GetString(text!), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            ? time - _context.Time.GetUtcNow()
            : TimeSpan.Zero;
        if (left > TimeSpan.Zero)
        {
            _queue.AddAfter(name, left);
            return;
        }
        try
        {
            var options = new V1DeleteOptions { ApiVersion = "v1", Kind = "DeleteOptions", Preconditions = new V1Preconditions { Uid = secret.Metadata.Uid } };
            await _client.DeleteAsync(Resources.Secrets, Namespace, name, cancellationToken, options).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound || gone.IsConflict)
        {
            // Gone, or another one by that name.
        }
    }
}
