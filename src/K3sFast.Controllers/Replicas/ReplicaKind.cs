using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>One condition of a replica set or replication controller.</summary>
internal sealed record ReplicaCondition(string Type, string Status, string Reason, string Message, DateTime? LastTransitionTime);

/// <summary>The status that both kinds have.</summary>
internal sealed record ReplicaStatus(
    int Replicas, int FullyLabeled, int Ready, int Available, int? Terminating, long ObservedGeneration, IReadOnlyList<ReplicaCondition> Conditions)
{
    internal bool SameAs(ReplicaStatus other) =>
        Replicas == other.Replicas && FullyLabeled == other.FullyLabeled && Ready == other.Ready && Available == other.Available
        && Terminating == other.Terminating && ObservedGeneration == other.ObservedGeneration && Conditions.SequenceEqual(other.Conditions);
}

/// <summary>What the replica engine must know of the kind it keeps. Stateless.</summary>
internal abstract class ReplicaKind<T> where T : class, IKubernetesObject<V1ObjectMeta>, new()
{
    internal abstract string ControllerName { get; }

    internal abstract Resource<T> Resource { get; }

    internal abstract int Replicas(T owner);

    internal abstract LabelMatcher Selector(T owner);

    internal abstract V1PodTemplateSpec Template(T owner);

    internal abstract int MinReadySeconds(T owner);

    internal abstract ReplicaStatus Status(T owner);

    internal abstract T WithStatus(T owner, ReplicaStatus status);

    /// <summary>Zero as the API stores it: not at all.</summary>
    protected static int? NullIfZero(int value) => value == 0 ? null : value;
}

/// <summary>ReplicaSets.</summary>
internal sealed class ReplicaSetKind : ReplicaKind<V1ReplicaSet>
{
    internal override string ControllerName => "replicaset-controller";

    internal override Resource<V1ReplicaSet> Resource => Resources.ReplicaSets;

    internal override int Replicas(V1ReplicaSet owner) => owner.Spec.Replicas ?? 1;

    internal override LabelMatcher Selector(V1ReplicaSet owner) => LabelMatcher.Of(owner.Spec.Selector);

    internal override V1PodTemplateSpec Template(V1ReplicaSet owner) => owner.Spec.Template;

    internal override int MinReadySeconds(V1ReplicaSet owner) => owner.Spec.MinReadySeconds ?? 0;

    internal override ReplicaStatus Status(V1ReplicaSet owner) => owner.Status is not { } status
        ? new ReplicaStatus(0, 0, 0, 0, null, 0, [])
        : new ReplicaStatus(
            status.Replicas,
            status.FullyLabeledReplicas ?? 0,
            status.ReadyReplicas ?? 0,
            status.AvailableReplicas ?? 0,
            status.TerminatingReplicas,
            status.ObservedGeneration ?? 0,
            [.. (status.Conditions ?? []).Select(static c => new ReplicaCondition(c.Type, c.Status, c.Reason ?? "", c.Message ?? "", c.LastTransitionTime))]);

    internal override V1ReplicaSet WithStatus(V1ReplicaSet owner, ReplicaStatus status) => owner with
    {
        Status = new V1ReplicaSetStatus
        {
            Replicas = status.Replicas,
            FullyLabeledReplicas = NullIfZero(status.FullyLabeled),
            ReadyReplicas = NullIfZero(status.Ready),
            AvailableReplicas = NullIfZero(status.Available),
            TerminatingReplicas = status.Terminating,
            ObservedGeneration = status.ObservedGeneration,
            Conditions = status.Conditions.Count == 0 ? null : [.. status.Conditions.Select(static c => new V1ReplicaSetCondition
            {
                Type = c.Type, Status = c.Status, Reason = c.Reason, Message = c.Message, LastTransitionTime = c.LastTransitionTime,
            })],
        },
    };
}

/// <summary>ReplicationControllers: the same thing with a simpler selector.</summary>
internal sealed class ReplicationControllerKind : ReplicaKind<V1ReplicationController>
{
    internal override string ControllerName => "replication-controller";

    internal override Resource<V1ReplicationController> Resource => Resources.ReplicationControllers;

    internal override int Replicas(V1ReplicationController owner) => owner.Spec.Replicas ?? 1;

    internal override LabelMatcher Selector(V1ReplicationController owner) => LabelMatcher.Of(owner.Spec.Selector);

    internal override V1PodTemplateSpec Template(V1ReplicationController owner) => owner.Spec.Template;

    internal override int MinReadySeconds(V1ReplicationController owner) => owner.Spec.MinReadySeconds ?? 0;

    internal override ReplicaStatus Status(V1ReplicationController owner) => owner.Status is not { } status
        ? new ReplicaStatus(0, 0, 0, 0, null, 0, [])
        : new ReplicaStatus(
            status.Replicas,
            status.FullyLabeledReplicas ?? 0,
            status.ReadyReplicas ?? 0,
            status.AvailableReplicas ?? 0,
            null,
            status.ObservedGeneration ?? 0,
            [.. (status.Conditions ?? []).Select(static c => new ReplicaCondition(c.Type, c.Status, c.Reason ?? "", c.Message ?? "", c.LastTransitionTime))]);

    internal override V1ReplicationController WithStatus(V1ReplicationController owner, ReplicaStatus status) => owner with
    {
        Status = new V1ReplicationControllerStatus
        {
            Replicas = status.Replicas,
            FullyLabeledReplicas = NullIfZero(status.FullyLabeled),
            ReadyReplicas = NullIfZero(status.Ready),
            AvailableReplicas = NullIfZero(status.Available),
            ObservedGeneration = status.ObservedGeneration,
            Conditions = status.Conditions.Count == 0 ? null : [.. status.Conditions.Select(static c => new V1ReplicationControllerCondition
            {
                Type = c.Type, Status = c.Status, Reason = c.Reason, Message = c.Message, LastTransitionTime = c.LastTransitionTime,
            })],
        },
    };
}
