using System.Buffers.Binary;
using K3sFast.Datastore.FailPoints;
using Microsoft.Win32.SafeHandles;
using SQLitePCL;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Writes a log's bytes over themselves and flushes them: after a failed flush the kernel counts pages as clean that never reached the
/// medium, and only a new write makes it try again. The bytes do not change, so who reads meanwhile sees nothing of it.
/// </summary>
/// <remarks>
/// That holds while the kernel still has the bytes. Some file systems drop what they could not write, and a read then gives what the medium has. So before a byte
/// is written the log is read through as SQLite would at the next start: what is not whole up to its known end is left alone, and nothing is built on it.
/// </remarks>
internal static class LogRewriter
{
    private const int ChunkBytes = 256 * 1024;

    /// <summary>Throws <see cref="SqliteException"/> like a failed commit when the medium still fails, or has lost what was written.</summary>
    /// <param name="database">The database's file; its log is meant.</param>
    /// <param name="end">The end of what was committed; default = not known.</param>
    /// <param name="flushed">The newest part of it that was flushed well, and needs no more than to be read; default = none.</param>
    public static void Rewrite(string database, in Flushed end, in Flushed flushed)
    {
        string path = $"{database}-wal";
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            byte[] header = new byte[LogCheck.HeaderBytes];
            // Emptied: all of it is in the database.
            if (RandomAccess.Read(file, header, 0) != header.Length) return;
            long from = 0, to = long.MaxValue;
            // Of another generation than its end: it has begun anew since, as all was in the database, and nothing is committed in it.
            if (end.Frames > 0 && BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(16)) == end.Salt)
            {
                int frameBytes = LogCheck.FrameHeaderBytes + BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(8));
                Verify(file, path, header, frameBytes, end);
                to = LogCheck.HeaderBytes + (end.Frames * frameBytes);
                if (flushed.Salt == end.Salt) from = LogCheck.HeaderBytes + (flushed.Frames * frameBytes);
            }
            Rewrite(file, from, to);
            if (FailPoint.Reach(FailPointNames.CommitInFlush, database) != FailPointError.None) throw new IOException("fail point");
            FileFlush.Flush(file);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new SqliteException(raw.SQLITE_IOERR, error.Message, $"write {path} again");
        }
    }

    /// <summary>
    /// Of the log that a killed process left, writes again what nobody saw flushed: its last flush may have failed, and the kernel may still show frames that the
    /// medium never got. Before SQLite opens the log and builds on them. After a power cut what is read is what the medium has, and this changes nothing.
    /// </summary>
    public static void RewriteUnflushed(string database)
    {
        string path = $"{database}-wal";
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            byte[] header = new byte[LogCheck.HeaderBytes];
            if (RandomAccess.Read(file, header, 0) != header.Length) return;
            ulong salt = BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(16));
            int frameBytes = LogCheck.FrameHeaderBytes + BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(8));
            // Not a log's head; SQLite begins it anew.
            if (frameBytes is < 512 or > 65536 + LogCheck.FrameHeaderBytes) return;
            bool isFlushedKnown = FlushMark.TryRead(database, out var flushed) && flushed.Salt == salt;
            long from = isFlushedKnown ? LogCheck.HeaderBytes + (flushed.Frames * frameBytes) : 0;
            byte[] sum = new byte[8];
            BinaryPrimitives.WriteUInt64BigEndian(sum, isFlushedKnown ? flushed.Sum : BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(24)));
            long to = EndOfWhole(file, Math.Max(from, LogCheck.HeaderBytes), frameBytes, salt, LogCheck.Sum.At(sum, isBigEndian: (header[3] & 1) != 0));
            if (to == from) return;
            Rewrite(file, from, to);
            FileFlush.Flush(file);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new SqliteException(raw.SQLITE_IOERR, error.Message, $"write {path} again");
        }
    }

    /// <summary>Behind the last frame that is as it was written.</summary>
    private static long EndOfWhole(SafeFileHandle file, long offset, int frameBytes, ulong salt, LogCheck.Sum sum)
    {
        byte[] frame = new byte[frameBytes];
        for (; RandomAccess.Read(file, frame, offset) == frameBytes; offset += frameBytes)
        {
            sum.Add(frame.AsSpan(0, 8));
            sum.Add(frame.AsSpan(LogCheck.FrameHeaderBytes));
            if (BinaryPrimitives.ReadUInt64BigEndian(frame.AsSpan(8)) != salt || !sum.IsAt(frame.AsSpan(16, 8))) break;
        }
        return offset;
    }

    private static void Verify(SafeFileHandle file, string path, byte[] header, int frameBytes, in Flushed end)
    {
        var sum = new LogCheck.Sum(isBigEndian: (header[3] & 1) != 0);
        sum.Add(header.AsSpan(0, 24));
        byte[] chunk = new byte[Math.Max(1, ChunkBytes / frameBytes) * frameBytes];
        for (long number = 1, offset = header.Length; number <= end.Frames; offset += chunk.Length)
        {
            int read = RandomAccess.Read(file, chunk, offset);
            for (int at = 0; number <= end.Frames; at += frameBytes, number++)
            {
                if (at == chunk.Length) break;
                if (at + frameBytes > read) throw Lost(path, number);
                var frame = chunk.AsSpan(at, frameBytes);
                sum.Add(frame[..8]);
                sum.Add(frame[LogCheck.FrameHeaderBytes..]);
                if (BinaryPrimitives.ReadUInt64BigEndian(frame[8..]) != end.Salt || !sum.IsAt(frame.Slice(16, 8))) throw Lost(path, number);
            }
        }
        if (!sum.IsAt(end.Sum)) throw Lost(path, end.Frames);
    }

    private static void Rewrite(SafeFileHandle file, long offset, long end)
    {
        byte[] chunk = new byte[ChunkBytes];
        while (RandomAccess.Read(file, chunk.AsSpan(0, (int)Math.Min(chunk.Length, end - offset)), offset) is var read and > 0)
        {
            RandomAccess.Write(file, chunk.AsSpan(0, read), offset);
            offset += read;
        }
    }

    private static IOException Lost(string path, long frame) =>
        new($"frame {frame} of {path} is not as it was written: the medium has lost it, and no write is accepted; what was acknowledged lies before it and is there after a restart");
}
