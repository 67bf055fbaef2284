namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// The two revisions that everybody reads, and the hand-over of fresh commits to watches. The writer thread publishes; a watch that
/// catches up from the file joins under the same lock, so nothing falls between file and live.
/// </summary>
internal sealed class CommitFeed(long currentRevision, long compactRevision)
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly List<SqliteWatch> _live = [];
    private long _publishedRevision = currentRevision;

    // Written by the writer thread, read by anyone
    private long _currentRevision = currentRevision;
    private long _compactRevision = compactRevision;
    private long _compactedRevision = compactRevision;

    public long CurrentRevision
    {
        get => Volatile.Read(ref _currentRevision);
        set => Volatile.Write(ref _currentRevision, value);
    }

    /// <summary>Raised before the rows go, so that a reader who finds it unchanged after reading has read whole history.</summary>
    public long CompactRevision
    {
        get => Volatile.Read(ref _compactRevision);
        set => Volatile.Write(ref _compactRevision, value);
    }

    /// <summary>
    /// Raised after the rows went. Where a step failed this stays behind <see cref="CompactRevision"/>, and the next compaction begins here: one
    /// that began later would take a deletion and leave what it deleted.
    /// </summary>
    public long CompactedRevision
    {
        get => Volatile.Read(ref _compactedRevision);
        set => Volatile.Write(ref _compactedRevision, value);
    }

    /// <summary>Shows one committed group to all live watches. Writer thread only.</summary>
    public void Publish(ReadOnlySpan<PendingAppend> appends, List<ExpiredKey> expired, long revision)
    {
        lock (_gate)
        {
            for (int i = _live.Count - 1; i >= 0; i--)
            {
                var watch = _live[i];
                if (!ShowTo(watch, appends, expired, revision)) _live.RemoveAt(i);
            }
            _publishedRevision = revision;
        }
    }

    /// <summary>Makes a revision the present whose groups were answered before it was sure that they stay: watches read them from the file. Writer thread only.</summary>
    public void PublishFromFile(SqliteReaders readers, long revision)
    {
        lock (_gate)
        {
            CurrentRevision = revision;
            for (int i = _live.Count - 1; i >= 0; i--)
            {
                var watch = _live[i];
                try
                {
                    watch.ShowFromFile(readers, revision);
                }
                catch (Exception error)
                {
                    // As when a group is shown.
                    watch.Fail(error);
                    _live.RemoveAt(i);
                }
            }
            _publishedRevision = revision;
        }
    }

    /// <summary>Makes a watch live if it has seen everything published; false = read on from the file first.</summary>
    public bool TryJoin(SqliteWatch watch)
    {
        lock (_gate)
        {
            if (watch.Position < _publishedRevision) return false;
            _live.Add(watch);
            return true;
        }
    }

    public void Leave(SqliteWatch watch)
    {
        lock (_gate) _live.Remove(watch);
    }

    /// <summary>Ends all live watches: the store is closing.</summary>
    public void Close(Exception reason)
    {
        SqliteWatch[] watches;
        lock (_gate)
        {
            watches = [.. _live];
            _live.Clear();
        }
        foreach (var watch in watches) watch.Fail(reason);
    }

    private static bool ShowTo(SqliteWatch watch, ReadOnlySpan<PendingAppend> appends, List<ExpiredKey> expired, long revision)
    {
        try
        {
            foreach (var append in appends)
            {
                if (append.Result.Outcome != AppendOutcome.Committed) continue;
                bool isDelete = append.Request.Kind == AppendKind.Delete;
                watch.Show(new DatastoreEntry
                {
                    Key = append.Request.Key,
                    Value = isDelete ? default : append.Request.Value.Span,
                    Revision = append.Result.Revision,
                    CreateRevision = append.CreateRevision,
                    LeaseSeconds = append.Request.LeaseSeconds,
                    Kind = append.Request.Kind,
                });
            }
            foreach (var key in expired)
            {
                watch.Show(new DatastoreEntry { Key = key.Key, Revision = key.Revision, CreateRevision = key.CreateRevision, Kind = AppendKind.Delete });
            }
            watch.ShowRevision(revision);
            return true;
        }
        catch (Exception error)
        {
            // A watcher's fault must not fail the writes it watches: it is told and dropped.
            watch.Fail(error);
            return false;
        }
    }
}

/// <summary>A key whose lease ended, and the revision of its deletion.</summary>
internal readonly record struct ExpiredKey(string Key, long Revision, long CreateRevision);
