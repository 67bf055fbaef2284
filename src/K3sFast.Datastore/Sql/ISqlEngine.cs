namespace K3sFast.Datastore.Sql;

/// <summary>What differs between the databases that hold kine's table.</summary>
internal interface ISqlEngine : IAsyncDisposable
{
    /// <summary>Kind, host and database, without the password: for messages.</summary>
    string Name { get; }

    /// <summary>True = <see cref="ISqlConnection.WaitForNoticeAsync"/> tells of other servers' commits.</summary>
    bool HasNotices { get; }

    /// <summary>Makes the database, the table and the indexes that are missing, and mends what an old kine left too narrow.</summary>
    Task PrepareAsync(CancellationToken cancellationToken);

    /// <summary>A session in the state that this class's statements need.</summary>
    Task<ISqlConnection> ConnectAsync(CancellationToken cancellationToken);

    /// <summary>A session that is told of other servers' commits.</summary>
    Task<ISqlConnection> ListenAsync(CancellationToken cancellationToken);

    /// <summary>Begins a transaction that holds the lock of all writers, so that revisions become visible in their order.</summary>
    IReadOnlyList<SqlStatement> BeginLocked { get; }

    /// <summary>Ends it, telling the others of the newest revision.</summary>
    IReadOnlyList<SqlStatement> Commit(long newest);

    /// <summary>Bytes that the table and its indexes take, as one number.</summary>
    string Size { get; }

    /// <summary>Deletes what revisions up to $1 superseded, looking at those after $2 only.</summary>
    string CompactRows { get; }
}
