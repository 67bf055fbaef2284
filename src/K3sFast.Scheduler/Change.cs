using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>What a <see cref="Change"/> says.</summary>
internal enum ChangeKind : byte
{
    Tick,
    PodSet,
    PodGone,
    NodeSet,
    NodeGone,
    NamespaceLabels,
    BindDone,
    WriteDone,
}

/// <summary>One message to the scheduling loop.</summary>
internal readonly record struct Change(
    ChangeKind Kind,
    V1Pod? Pod = null,
    V1Pod? OldPod = null,
    V1Node? Node = null,
    V1Node? OldNode = null,
    QueuedPod? Queued = null,
    string? Number = null,
    string? Failure = null);
