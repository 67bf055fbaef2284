using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore;

internal static partial class Log
{
    [LoggerMessage(2000, LogLevel.Information, "Opened {Path} at revision {Revision} (compacted {CompactRevision}) in {ElapsedMs} ms")]
    public static partial void Opened(ILogger logger, string path, long revision, long compactRevision, long elapsedMs);

    [LoggerMessage(2001, LogLevel.Error, "Commit of {Count} changes to {Path} failed")]
    public static partial void CommitFailed(ILogger logger, string path, int count, Exception error);

    [LoggerMessage(2002, LogLevel.Error, "No space left for {Path}: {FreeBytes} bytes are free and {ReservedBytes} reserved; creates and updates are refused until there is more, deletions go on")]
    public static partial void Full(ILogger logger, string path, long freeBytes, long reservedBytes);

    [LoggerMessage(2003, LogLevel.Information, "There is space for {Path} again: writes are accepted")]
    public static partial void FullNoMore(ILogger logger, string path);

    [LoggerMessage(2004, LogLevel.Warning, "Slow commit: {Count} changes took {ElapsedMs} ms")]
    public static partial void SlowCommit(ILogger logger, int count, long elapsedMs);

    [LoggerMessage(2005, LogLevel.Information, "Compacted to revision {Revision} in {ElapsedMs} ms")]
    public static partial void Compacted(ILogger logger, long revision, long elapsedMs);

    [LoggerMessage(2006, LogLevel.Warning, "Compaction to revision {Revision} failed; it is tried again at the next interval")]
    public static partial void CompactionFailed(ILogger logger, long revision, Exception error);

    [LoggerMessage(2007, LogLevel.Warning, "Checkpoint of {Path} failed; it is tried again after the next writes")]
    public static partial void CheckpointFailed(ILogger logger, string path, Exception error);

    [LoggerMessage(2008, LogLevel.Error, "A watch ended at revision {Revision}")]
    public static partial void WatchFailed(ILogger logger, long revision, Exception error);

    [LoggerMessage(2010, LogLevel.Warning, "Giving free pages of {Path} back failed; it is tried again after the next compaction")]
    public static partial void VacuumFailed(ILogger logger, string path, Exception error);

    [LoggerMessage(2011, LogLevel.Warning, "{Path} was made without room for giving pages back, and is not converted: {Reason}. Free pages are used again, but the file does not shrink; \"sqlite3 {Path} 'PRAGMA auto_vacuum=INCREMENTAL; VACUUM'\" while the server is stopped converts it")]
    public static partial void NotConverted(ILogger logger, string path, string reason);

    [LoggerMessage(2012, LogLevel.Information, "{Path} was made without room for giving pages back: converted in {ElapsedMs} ms")]
    public static partial void Converted(ILogger logger, string path, long elapsedMs);

    [LoggerMessage(2013, LogLevel.Critical, "{Path} is damaged: {Finding}. Reads and writes are refused: stop the server and restore it from a backup")]
    public static partial void Damaged(ILogger logger, string path, string finding);

    [LoggerMessage(2014, LogLevel.Information, "Checked {Path} beside the work: whole, {ElapsedMs} ms")]
    public static partial void CheckedWhole(ILogger logger, string path, long elapsedMs);

    [LoggerMessage(2015, LogLevel.Warning, "Checking {Path} beside the work failed; damage shows only where it is read")]
    public static partial void CheckFailed(ILogger logger, string path, Exception error);

    [LoggerMessage(2016, LogLevel.Error, "The lease of {Key} has ended, but the key is not deleted")]
    public static partial void DamagedLease(ILogger logger, string key, Exception error);

    [LoggerMessage(2017, LogLevel.Warning, "How much of the log was flushed cannot be noted in {Path}: {Reason}. Writes go on; damage in the newest part of the log may be taken for a torn tail")]
    public static partial void MarkFailed(ILogger logger, string path, string reason);

    [LoggerMessage(2018, LogLevel.Error, "A flush of the log of {Path} failed: what it was to flush is written again before anything is answered")]
    public static partial void FlushFailed(ILogger logger, string path, Exception error);

    [LoggerMessage(2009, LogLevel.Warning, "Leases could not be read: keys with a lease expire only after the next start")]
    public static partial void LeasesUnreadable(ILogger logger, Exception error);

    [LoggerMessage(2019, LogLevel.Warning, "The log of {Path}, all of which is copied, cannot be made ready to begin anew, and goes on as it is: {Reason}")]
    public static partial void SealFailed(ILogger logger, string path, string reason);

    [LoggerMessage(2020, LogLevel.Information, "Opened etcd {Endpoints} at revision {Revision} (compacted {CompactRevision})")]
    public static partial void EtcdOpened(ILogger logger, string endpoints, long revision, long compactRevision);

    [LoggerMessage(2021, LogLevel.Warning, "etcd member {Member} does not answer, {Next} is asked: {Reason}")]
    public static partial void EtcdMovedOn(ILogger logger, string member, string next, string reason);

    [LoggerMessage(2022, LogLevel.Warning, "The watch on etcd member {Member} broke at revision {Revision} and goes on from there: {Reason}")]
    public static partial void EtcdWatchBroken(ILogger logger, string member, long revision, string reason);

    [LoggerMessage(2023, LogLevel.Warning, "The history behind revision {Revision} was compacted before it was seen: everything is read anew from revision {Current}")]
    public static partial void HistoryLost(ILogger logger, long revision, long current);

    [LoggerMessage(2024, LogLevel.Error, "Following the datastore failed")]
    public static partial void FollowFailed(ILogger logger, Exception error);

    [LoggerMessage(2030, LogLevel.Information, "Opened {Name} at revision {Revision} (compacted {CompactRevision})")]
    public static partial void SqlOpened(ILogger logger, string name, long revision, long compactRevision);

    [LoggerMessage(2031, LogLevel.Warning, "Following {Name} from revision {Revision} failed and is tried again: {Reason}")]
    public static partial void SqlFollowFailed(ILogger logger, string name, long revision, string reason);

    [LoggerMessage(2032, LogLevel.Warning, "{Name}: nobody committed the revisions {First} to {Last}, which were skipped: they are filled")]
    public static partial void GapFilled(ILogger logger, string name, long first, long last);

    [LoggerMessage(2033, LogLevel.Warning, "{Name} gives no notice of other servers' writes for now: {Reason}")]
    public static partial void ListenFailed(ILogger logger, string name, string reason);

    [LoggerMessage(2034, LogLevel.Information, "{Name}: the table is changed so that {What}")]
    public static partial void TableMended(ILogger logger, string name, string what);

    [LoggerMessage(2035, LogLevel.Warning, "Deleting {Key}, whose lease has ended, failed and is tried again: {Reason}")]
    public static partial void ExpiryFailed(ILogger logger, string key, string reason);

    [LoggerMessage(2036, LogLevel.Error, "No space left for {Name}: writes are refused until there is")]
    public static partial void SqlFull(ILogger logger, string name);
}
