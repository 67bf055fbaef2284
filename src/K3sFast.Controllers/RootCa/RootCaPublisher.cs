using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Keeps the ConfigMap kube-root-ca.crt in each namespace: what pods check the API server's certificate with.</summary>
internal sealed class RootCaPublisher : Controller
{
    private const string MapName = "kube-root-ca.crt";
    private const string Key = "ca.crt";
    private const string DescriptionAnnotation = "kubernetes.io/description";

    // The words are part of what clients compare: upstream's.
    private const string Description = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
        + "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1Namespace> _namespaces;
    private readonly Informer<V1ConfigMap> _maps;
    private readonly WorkQueue<string> _queue;

    internal RootCaPublisher(ControllerContext context) : base("root-ca-cert-publisher")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<string>());
        _namespaces = context.Informers.Get(Resources.Namespaces);
        _namespaces.AddHandler(new InformerHandler<V1Namespace>(value => _queue.Add(value.Metadata.Name), (_, value) => _queue.Add(value.Metadata.Name)));
        _maps = context.Informers.Get(Resources.ConfigMaps, null, new ListOptions(FieldSelector: $"metadata.name={MapName}"));
        _maps.AddHandler(value => _queue.Add(value.Metadata.NamespaceProperty));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) =>
        _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        if (_namespaces.Get(null, name) is not { Metadata.DeletionTimestamp: null, Status.Phase: not "Terminating" }) return;
        var map = _maps.Get(name, MapName);
        var data = new Dictionary<string, string> { [Key] = _context.Options.RootCaPem };
        try
        {
            if (map is null)
            {
                map = new V1ConfigMap
                {
                    Metadata = new V1ObjectMeta
                    {
                        Name = MapName,
                        NamespaceProperty = name,
                        Annotations = new Dictionary<string, string> { [DescriptionAnnotation] = Description },
                    },
                    Data = data,
                };
                await _client.CreateAsync(Resources.ConfigMaps, map, cancellationToken).ConfigureAwait(false);
                return;
            }
            if (Owners.SameLabels(map.Data, data) && map.Metadata.Annotations?.ContainsKey(DescriptionAnnotation) == true) return;
            var annotations = new Dictionary<string, string>(map.Metadata.Annotations ?? new Dictionary<string, string>()) { [DescriptionAnnotation] = Description };
            map = map with { Metadata = map.Metadata with { Annotations = annotations }, Data = data };
            await _client.UpdateAsync(Resources.ConfigMaps, map, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException refused) when (refused.IsAlreadyExists || refused.IsNamespaceTerminating || refused.IsNotFound)
        {
            // There already (the informer brings it and it is looked at again), or no longer wanted.
        }
    }
}
