using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Gives each namespace its service account "default", and a new one when it is deleted.</summary>
internal sealed class ServiceAccountController : Controller
{
    private const string Default = "default";

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1Namespace> _namespaces;
    private readonly Informer<V1ServiceAccount> _accounts;
    private readonly WorkQueue<string> _queue;

    internal ServiceAccountController(ControllerContext context) : base("service-account-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<string>());
        _namespaces = context.Informers.Get(Resources.Namespaces);
        _namespaces.AddHandler(new InformerHandler<V1Namespace>(value => _queue.Add(value.Metadata.Name), (_, value) => _queue.Add(value.Metadata.Name)));
        _accounts = context.Informers.Get(Resources.ServiceAccounts, null, new ListOptions(FieldSelector: $"metadata.name={Default}"));
        _accounts.AddHandler(new InformerHandler<V1ServiceAccount>(Deleted: value => _queue.Add(value.Metadata.NamespaceProperty)));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) =>
        _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        if (_namespaces.Get(null, name) is not { Metadata.DeletionTimestamp: null, Status.Phase: not "Terminating" }) return;
        if (_accounts.Get(name, Default) is not null) return;
        try
        {
            var account = new V1ServiceAccount { Metadata = new V1ObjectMeta { Name = Default, NamespaceProperty = name } };
            await _client.CreateAsync(Resources.ServiceAccounts, account, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException refused) when (refused.IsAlreadyExists || refused.IsNamespaceTerminating || refused.IsNotFound)
        {
            // There already, or no longer wanted.
        }
    }
}
