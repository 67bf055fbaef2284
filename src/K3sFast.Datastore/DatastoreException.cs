namespace K3sFast.Datastore;

/// <summary>The medium or the engine below the datastore failed. The message names what, where and what to do.</summary>
public class DatastoreException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>What is stored is not what was written. It is not served; the message names what and what to do.</summary>
public sealed class DatastoreCorruptException(string message, Exception? inner = null) : DatastoreException(message, inner);

/// <summary>A stored value cannot be turned into what was given: its key is not known, or it was changed.</summary>
public sealed class DatastoreTransformException(string message, Exception? inner = null) : DatastoreException(message, inner);

/// <summary>More writes are waiting than the store takes in (etcd: "too many requests"). Nothing was changed; try again later.</summary>
public sealed class DatastoreBusyException(string message) : DatastoreException(message);

/// <summary>The history that was asked for has been compacted away (etcd: ErrCompacted; Kubernetes: 410 Expired).</summary>
public sealed class DatastoreCompactedException(long revision, long compactRevision)
    : DatastoreException($"revision {revision} is below the compacted revision {compactRevision}: list again and start from there")
{
    /// <summary>The revision asked for.</summary>
    public long Revision { get; } = revision;

    /// <summary>The lowest revision that can be asked for.</summary>
    public long CompactRevision { get; } = compactRevision;
}

/// <summary>A revision that has not happened yet was asked for.</summary>
public sealed class DatastoreFutureRevisionException(long revision, long currentRevision)
    : DatastoreException($"revision {revision} is newer than the store's current revision {currentRevision}")
{
    /// <summary>The revision asked for.</summary>
    public long Revision { get; } = revision;

    /// <summary>The newest revision there is.</summary>
    public long CurrentRevision { get; } = currentRevision;
}

/// <summary>Why a datastore could not be opened.</summary>
public enum DatastoreOpenFailure
{
    /// <summary>Something else.</summary>
    Other,

    /// <summary>The file is no database of ours.</summary>
    NotADatabase,

    /// <summary>The file is damaged.</summary>
    Corrupt,

    /// <summary>Directory or file cannot be written.</summary>
    ReadOnly,

    /// <summary>No space left on the device.</summary>
    Full,

    /// <summary>Another process has it open.</summary>
    Locked,
}

/// <summary>A datastore could not be opened. Nothing stored was changed.</summary>
public sealed class DatastoreOpenException(DatastoreOpenFailure failure, string message, Exception? inner = null) : DatastoreException(message, inner)
{
    /// <summary>The kind of failure.</summary>
    public DatastoreOpenFailure Failure { get; } = failure;
}
