using System.Globalization;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>The replica set of the current template: found, brought up to date, or created; and the revision that it makes.</summary>
internal sealed partial class DeploymentSync
{
    // Longest name of an object (RFC 1123 subdomain).
    private const int MaxNameLength = 253;

    private async Task FindSetsAsync(bool mayCreate, CancellationToken cancellationToken)
    {
        if (_newSet is not null) return;
        // The oldest one with this template, should there be several.
        _newSet = sets.Find(set => PodTemplates.EqualButHash(set.Spec.Template, _deployment.Spec.Template));
        _oldSets = sets.FindAll(set => set.Metadata.Uid != _newSet?.Metadata.Uid);
        var revision = _oldSets.Count == 0 ? 1 : _oldSets.Max(RolloutMath.Revision) + 1;
        if (_newSet is not null) await RefreshNewSetAsync(revision, cancellationToken).ConfigureAwait(false);
        else if (mayCreate) await CreateNewSetAsync(revision, cancellationToken).ConfigureAwait(false);
    }

    private async Task RefreshNewSetAsync(long revision, CancellationToken cancellationToken)
    {
        var set = _newSet!;
        var annotations = new Dictionary<string, string>(set.Metadata.Annotations ?? new Dictionary<string, string>());
        var isChanged = RevisionAnnotations.CopyFrom(_deployment, annotations);
        isChanged |= RevisionAnnotations.SetRevision(annotations, revision);
        if (isChanged || (set.Spec.MinReadySeconds ?? 0) != (_deployment.Spec.MinReadySeconds ?? 0))
        {
            set = set with
            {
                Metadata = set.Metadata with { Annotations = annotations },
                Spec = set.Spec with { MinReadySeconds = _deployment.Spec.MinReadySeconds },
            };
            _newSet = await client.UpdateAsync(Resources.ReplicaSets, set, cancellationToken).ConfigureAwait(false);
        }
        var status = _deployment.Status;
        if (DeploymentStatusRules.HasProgressDeadline(_deployment) && DeploymentConditions.Find(status, DeploymentConditions.Progressing) is null)
        {
            status = DeploymentConditions.Set(status, DeploymentConditions.New(
                DeploymentConditions.Progressing, "True", DeploymentConditions.NewSetFound, $"Found new replica set \"{set.Metadata.Name}\"", context.Now));
        }
        await RecordRevisionAsync(annotations[RolloutMath.RevisionAnnotation], status, cancellationToken).ConfigureAwait(false);
    }

    private async Task CreateNewSetAsync(long revision, CancellationToken cancellationToken)
    {
        var hash = PodTemplates.Hash(_deployment.Spec.Template, _deployment.Status?.CollisionCount);
        var wanted = NewSet(hash, revision);
        V1ReplicaSet created;
        var isNew = true;
        try
        {
            created = await client.CreateAsync(Resources.ReplicaSets, wanted, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException exists) when (exists.IsAlreadyExists)
        {
            // Ours, which the informer has not shown yet; or another template with the same hash.
            var other = informer.Get(wanted.Metadata.NamespaceProperty, wanted.Metadata.Name)
                ?? await client.GetAsync(Resources.ReplicaSets, wanted.Metadata.NamespaceProperty, wanted.Metadata.Name, cancellationToken).ConfigureAwait(false);
            if (!Owners.IsControlledBy(other, _deployment) || !PodTemplates.EqualButHash(other.Spec.Template, _deployment.Spec.Template))
            {
                var collided = (_deployment.Status ?? new()) with { CollisionCount = (_deployment.Status?.CollisionCount ?? 0) + 1 };
                await PutStatusAsync(collided, cancellationToken).ConfigureAwait(false);
                throw;
            }
            (created, isNew) = (other, false);
        }
        catch (ApiException refused) when (!refused.IsNamespaceTerminating)
        {
            var message = $"Failed to create new replica set \"{wanted.Metadata.Name}\": {refused.Message}";
            events.Warning(Resources.Deployments, _deployment, DeploymentConditions.SetCreateError, message);
            if (DeploymentStatusRules.HasProgressDeadline(_deployment))
            {
                var failed = DeploymentConditions.New(
                    DeploymentConditions.Progressing, "False", DeploymentConditions.SetCreateError, message, context.Now);
                await PutStatusAsync(DeploymentConditions.Set(_deployment.Status, failed), cancellationToken).ConfigureAwait(false);
            }
            throw;
        }
        _newSet = created;
        var status = _deployment.Status;
        if (isNew)
        {
            var size = RolloutMath.Replicas(created);
            if (size > 0)
            {
                events.Normal(Resources.Deployments, _deployment, "ScalingReplicaSet", $"Scaled up replica set {created.Metadata.Name} from 0 to {size}");
            }
            if (DeploymentStatusRules.HasProgressDeadline(_deployment))
            {
                status = DeploymentConditions.Set(status, DeploymentConditions.New(
                    DeploymentConditions.Progressing, "True", DeploymentConditions.NewSetCreated, $"Created new replica set \"{created.Metadata.Name}\"", context.Now));
            }
        }
        await RecordRevisionAsync(revision.ToString(CultureInfo.InvariantCulture), status, cancellationToken).ConfigureAwait(false);
    }

    private V1ReplicaSet NewSet(string hash, long revision)
    {
        var template = _deployment.Spec.Template;
        var labels = new Dictionary<string, string>(template.Metadata?.Labels ?? new Dictionary<string, string>()) { [PodTemplates.HashLabel] = hash };
        var selector = _deployment.Spec.Selector;
        var matchLabels = new Dictionary<string, string>(selector.MatchLabels ?? new Dictionary<string, string>()) { [PodTemplates.HashLabel] = hash };
        var annotations = new Dictionary<string, string>();
        RevisionAnnotations.CopyFrom(_deployment, annotations);
        RevisionAnnotations.SetRevision(annotations, revision);
        RevisionAnnotations.SetReplicas(annotations, _deployment);
        var name = _deployment.Metadata.Name;
        var room = MaxNameLength - hash.Length - 1;
        return new V1ReplicaSet
        {
            Metadata = new V1ObjectMeta
            {
                Name = $"{(name.Length > room ? name[..room] : name)}-{hash}",
                NamespaceProperty = _deployment.Metadata.NamespaceProperty,
                Labels = labels,
                Annotations = annotations,
                OwnerReferences = [Owners.Reference(Resources.Deployments, _deployment)],
            },
            Spec = new V1ReplicaSetSpec
            {
                Replicas = RolloutMath.NewSetSize(_deployment, _oldSets.Sum(RolloutMath.Replicas), 0),
                MinReadySeconds = _deployment.Spec.MinReadySeconds,
                Selector = selector with { MatchLabels = matchLabels },
                Template = template with { Metadata = (template.Metadata ?? new()) with { Labels = labels } },
            },
        };
    }

    // The revision goes with the status, which does not count as a change of the deployment (generation).
    private async Task RecordRevisionAsync(string revision, V1DeploymentStatus? status, CancellationToken cancellationToken)
    {
        string? current = null;
        _deployment.Metadata.Annotations?.TryGetValue(RolloutMath.RevisionAnnotation, out current);
        if (current == revision && ReferenceEquals(status, _deployment.Status)) return;
        if (current != revision)
        {
            var annotations = new Dictionary<string, string>(_deployment.Metadata.Annotations ?? new Dictionary<string, string>())
            {
                [RolloutMath.RevisionAnnotation] = revision,
            };
            _deployment = _deployment with { Metadata = _deployment.Metadata with { Annotations = annotations } };
        }
        await PutStatusAsync(status ?? new(), cancellationToken).ConfigureAwait(false);
    }
}
