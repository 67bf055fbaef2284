using K3sFast.Client;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>How many pods a budget's workloads are to have, by their scale, and how many of them must be healthy.</summary>
internal sealed class ExpectedPods
{
    private readonly ApiClient _client;
    private readonly DiscoveryCache _discovery;
    private readonly Informer<V1ReplicaSet> _replicaSets;
    private readonly Informer<V1Deployment> _deployments;
    private readonly Informer<V1StatefulSet> _statefulSets;
    private readonly Informer<V1ReplicationController> _controllers;

    internal ExpectedPods(ControllerContext context, ApiClient client, DiscoveryCache discovery)
    {
        (_client, _discovery) = (client, discovery);
        _replicaSets = context.Informers.Get(Resources.ReplicaSets);
        _deployments = context.Informers.Get(Resources.Deployments);
        _statefulSets = context.Informers.Get(Resources.StatefulSets);
        _controllers = context.Informers.Get(Resources.ReplicationControllers);
        Follow(_deployments, static value => value.Spec.Replicas);
        Follow(_statefulSets, static value => value.Spec.Replicas);
        Follow(_replicaSets, static value => value.Spec.Replicas);
        Follow(_controllers, static value => value.Spec.Replicas);
    }

    /// <summary>The scale of a workload in that namespace changed. Raised under an informer's lock.</summary>
    internal event Action<string>? Changed;

    /// <exception cref="InvalidOperationException">A pod's controller is not known: nothing can be said.</exception>
    internal async ValueTask<(int Expected, int Desired)> CountAsync(V1PodDisruptionBudget budget, List<V1Pod> pods, CancellationToken cancellationToken)
    {
        if (budget.Spec.MaxUnavailable is { } unavailable)
        {
            var expected = await ScaleOfAsync(pods, cancellationToken).ConfigureAwait(false);
            return (expected, Math.Max(0, expected - RolloutMath.Scaled(unavailable, expected, roundUp: true)));
        }
        if (budget.Spec.MinAvailable is not { } available) return (0, 0);
        if (!available.Value.EndsWith('%')) return (pods.Count, RolloutMath.Scaled(available, 0, roundUp: true));
        var total = await ScaleOfAsync(pods, cancellationToken).ConfigureAwait(false);
        return (total, RolloutMath.Scaled(available, total, roundUp: true));
    }

    private async ValueTask<int> ScaleOfAsync(List<V1Pod> pods, CancellationToken cancellationToken)
    {
        var seen = new HashSet<string>();
        var scales = new Dictionary<string, int>();
        foreach (var pod in pods)
        {
            // Pods of nobody are not counted: nobody makes new ones.
            if (Owners.ControllerOf(pod) is not { } owner || !seen.Add(owner.Uid)) continue;
            var (uid, scale) = await FindAsync(pod.Metadata.NamespaceProperty, owner, cancellationToken).ConfigureAwait(false)
                ?? throw new InvalidOperationException($"found no controllers for pod \"{pod.Metadata.Name}\"");
            scales[uid] = scale;
        }
        return scales.Values.Sum();
    }

    private async ValueTask<(string Uid, int Scale)?> FindAsync(string ns, V1OwnerReference owner, CancellationToken cancellationToken)
    {
        switch (owner.Kind)
        {
            case "ReplicationController" when Owners.Resolve(_controllers, ns, owner) is { } found:
                return (found.Metadata.Uid, found.Spec.Replicas ?? 1);
            case "StatefulSet" when Owners.Resolve(_statefulSets, ns, owner) is { } found:
                return (found.Metadata.Uid, found.Spec.Replicas ?? 1);
            case "ReplicaSet" when Owners.Resolve(_replicaSets, ns, owner) is { } found:
                if (Owners.ControllerOf(found) is not { Kind: "Deployment" } above) return (found.Metadata.Uid, found.Spec.Replicas ?? 1);
                return Owners.Resolve(_deployments, ns, above) is { } deployment ? (deployment.Metadata.Uid, deployment.Spec.Replicas ?? 1) : null;
            default:
                return await AskScaleAsync(ns, owner, cancellationToken).ConfigureAwait(false);
        }
    }

    // Any other kind that can be scaled tells by its scale subresource.
    private async ValueTask<(string Uid, int Scale)?> AskScaleAsync(string ns, V1OwnerReference owner, CancellationToken cancellationToken)
    {
        var discovered = await _discovery.GetAsync(_client, cancellationToken).ConfigureAwait(false);
        var group = owner.ApiVersion.Contains('/', StringComparison.Ordinal) ? owner.ApiVersion[..owner.ApiVersion.IndexOf('/', StringComparison.Ordinal)] : "";
        if (discovered.Resources.FirstOrDefault(candidate => candidate.Group == group && candidate.Kind == owner.Kind) is not { } resource) return null;
        var answer = await _client.Transport.SendAsync(new ApiRequest("GET", resource.Path(ns, owner.Name) + "/scale"), cancellationToken).ConfigureAwait(false);
        if (answer.StatusCode is 404 or 405) return null;
        if (!answer.IsSuccess) throw ApiException.From(answer);
        var scale = System.Text.Json.JsonSerializer.Deserialize(answer.Body.Span, ModelJson.TypeInfo<V1Scale>())!;
        return scale.Metadata.Uid == owner.Uid ? (owner.Uid, scale.Spec?.Replicas ?? 0) : null;
    }

    private void Follow<T>(Informer<T> informer, Func<T, int?> replicas) where T : class, IKubernetesObject<V1ObjectMeta> => informer.AddHandler(
        new InformerHandler<T>(Updated: (old, value) =>
        {
            if (replicas(old) != replicas(value)) Changed?.Invoke(value.Metadata.NamespaceProperty);
        }));
}
