using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Keeps a reserve of the file system for what makes room: deletions, compaction, checkpoints. Creates and updates are refused once only the
/// reserve is left, and go on by themselves when there is more. Owned by the writer thread; the properties may be read by any.
/// </summary>
internal sealed class SpaceGuard(string path, long? reserveBytes, Func<string, long> freeBytes, ILogger logger)
{
    // What a big clean-up may write before the first page is given back; small devices set less aside.
    private const long MaxReserveBytes = 32L << 20;
    private const int ReservePercent = 2;

    // Between two looks at the file system: this many bytes written, or this much time.
    private const long LookEveryBytes = 1 << 20;
    private const long LookEveryMs = 250;

    private readonly string _directory = Path.GetDirectoryName(path)!;
    private readonly long _reserve = reserveBytes ?? DefaultReserve(Path.GetDirectoryName(path)!);
    private long _free = long.MaxValue;
    private long _sinceLook = LookEveryBytes;
    private long _lookedAt;
    private bool _isFull;

    public bool IsFull => Volatile.Read(ref _isFull);

    public long ReserveBytes => _reserve;

    /// <summary>What the file system says now.</summary>
    public long FreeBytes => freeBytes(_directory);

    /// <summary>What non-privileged users may still write to the file system of a directory; when it does not say, as if there were no end.</summary>
    public static long FreeBytesOf(string directory)
    {
        try
        {
            return new DriveInfo(directory).AvailableFreeSpace;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return long.MaxValue;
        }
    }

    /// <summary>Notes bytes that went into the log or the file.</summary>
    public void Wrote(long bytes) => _sinceLook += bytes;

    /// <summary>True = creates and updates may be written.</summary>
    /// <param name="pendingBytes">Bytes in the log that the database file may have to grow by when they are copied into it.</param>
    public bool HasRoom(long pendingBytes)
    {
        // While it is full every group asks: room may be made at any time, and one call is nothing against a refused write.
        long now = Environment.TickCount64;
        if (_isFull || _sinceLook >= LookEveryBytes || now - _lookedAt >= LookEveryMs)
        {
            _free = FreeBytes;
            _sinceLook = 0;
            _lookedAt = now;
        }
        bool hasRoom = _free - _sinceLook - pendingBytes > _reserve;
        if (hasRoom == _isFull) Turn(isFull: !hasRoom);
        return hasRoom;
    }

    /// <summary>The file system itself refused a write.</summary>
    public void MarkFull()
    {
        if (!_isFull) Turn(isFull: true);
    }

    private void Turn(bool isFull)
    {
        Volatile.Write(ref _isFull, isFull);
        if (isFull) Log.Full(logger, path, FreeBytes, _reserve);
        else Log.FullNoMore(logger, path);
    }

    private static long DefaultReserve(string directory)
    {
        try
        {
            return Math.Min(MaxReserveBytes, new DriveInfo(directory).TotalSize * ReservePercent / 100);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }
}
