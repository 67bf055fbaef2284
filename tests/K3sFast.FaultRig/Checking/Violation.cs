using System.Globalization;

namespace K3sFast.FaultRig.Checking;

/// <summary>The laws that a history can break.</summary>
internal enum Law : byte
{
    /// <summary>A write that was answered with success is gone.</summary>
    AcknowledgedIsKept,

    /// <summary>A write took effect twice.</summary>
    WriteHappensOnce,

    /// <summary>A write that was answered with failure took effect.</summary>
    RefusedDoesNotHappen,

    /// <summary>A change that nobody asked for.</summary>
    ChangeHasAnAuthor,

    /// <summary>One revision stands for two changes.</summary>
    RevisionIsUsedOnce,

    /// <summary>Revisions follow each other by one, or in the order of calls.</summary>
    RevisionsAreInOrder,

    /// <summary>A change applied to another revision of its key than the writer expected, or to a key in the wrong state.</summary>
    WriteExpectsItsPredecessor,

    /// <summary>A read shows the state at its revision, neither older than what was answered before its call nor from after its answer.</summary>
    ReadIsCurrent,

    /// <summary>A read shows exactly the keys and values that its revision had.</summary>
    ReadIsExact,

    /// <summary>A conflict or absence that was answered was true at some time during the call.</summary>
    RefusalIsTrue,

    /// <summary>Values arrive as they were written.</summary>
    ValueIsWhole,

    /// <summary>A watch shows every change.</summary>
    WatchHasNoGap,

    /// <summary>A watch shows no change twice.</summary>
    WatchHasNoDuplicate,

    /// <summary>A watch shows changes in the order of their revisions.</summary>
    WatchIsInOrder,

    /// <summary>History is refused after compaction and only then.</summary>
    CompactionIsHonest,

    /// <summary>A key with a lease does not end before its time.</summary>
    LeaseLastsItsTime,
}

/// <summary>One broken law and the evidence.</summary>
internal readonly record struct Violation(Law Law, string Evidence)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Law}: {Evidence}");
}
