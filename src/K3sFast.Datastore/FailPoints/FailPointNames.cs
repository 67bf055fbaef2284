namespace K3sFast.Datastore.FailPoints;

/// <summary>The named points at which a test build can be made to fail. A name never changes its place.</summary>
public static class FailPointNames
{
    /// <summary>The writer has taken a group and has not begun its transaction.</summary>
    public const string CommitBeforeBegin = "commit.before-begin";

    /// <summary>One row of the group is inserted; reached once per row.</summary>
    public const string CommitAfterInsert = "commit.after-insert";

    /// <summary>All rows of the group are inserted, COMMIT is not yet called.</summary>
    public const string CommitBeforeCommit = "commit.before-commit";

    /// <summary>Within COMMIT: a frame or a header is about to be written into the write-ahead log. Killing here tears a group.</summary>
    public const string CommitInWrite = "commit.in-write";

    /// <summary>Within COMMIT: everything is written into the log, its flush is about to begin.</summary>
    public const string CommitInFlush = "commit.in-flush";

    /// <summary>The group is on disk, nobody has been told.</summary>
    public const string CommitBeforePublish = "commit.before-publish";

    /// <summary>Watches have seen the group, its appends have not been answered.</summary>
    public const string CommitBeforeComplete = "commit.before-complete";

    /// <summary>A checkpoint is about to begin.</summary>
    public const string CheckpointBefore = "checkpoint.before";

    /// <summary>Within a checkpoint: a page is about to be copied into the database.</summary>
    public const string CheckpointInWrite = "checkpoint.in-write";

    /// <summary>Within a checkpoint: log or database is about to be flushed.</summary>
    public const string CheckpointInFlush = "checkpoint.in-flush";

    /// <summary>A checkpoint has ended.</summary>
    public const string CheckpointAfter = "checkpoint.after";

    /// <summary>All of the log is in the database, its head is about to be taken away.</summary>
    public const string LogBeforeSeal = "log.before-seal";

    /// <summary>The head is taken away, the flush of that is about to begin.</summary>
    public const string LogInSeal = "log.in-seal";

    /// <summary>The head is taken away on disk, nobody knows of it.</summary>
    public const string LogAfterSeal = "log.after-seal";

    /// <summary>A compaction step is about to begin its transaction.</summary>
    public const string CompactBeforeBegin = "compact.before-begin";

    /// <summary>A compaction step has deleted its rows and has not committed.</summary>
    public const string CompactBeforeCommit = "compact.before-commit";

    /// <summary>A compaction step is on disk.</summary>
    public const string CompactAfterCommit = "compact.after-commit";

    /// <summary>A step that gives free pages back to the file system is about to begin.</summary>
    public const string VacuumBeforeStep = "vacuum.before-step";

    /// <summary>Such a step has ended.</summary>
    public const string VacuumAfterStep = "vacuum.after-step";

    /// <summary>All of them.</summary>
    public static IReadOnlyList<string> All { get; } =
    [
        CommitBeforeBegin, CommitAfterInsert, CommitBeforeCommit, CommitInWrite, CommitInFlush, CommitBeforePublish, CommitBeforeComplete,
        CheckpointBefore, CheckpointInWrite, CheckpointInFlush, CheckpointAfter,
        LogBeforeSeal, LogInSeal, LogAfterSeal,
        CompactBeforeBegin, CompactBeforeCommit, CompactAfterCommit, VacuumBeforeStep, VacuumAfterStep,
    ];
}
