using System.Buffers.Binary;
using System.Numerics;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// A note beside the database, made when a process that knew it to be whole has closed it in order, and taken away by the next one: while the file is the very one
/// that was closed, its structure need not be gone through before anybody is served, but may be beside the work.
/// </summary>
/// <remarks>
/// It is never flushed and may be lost or come back; it holds only for a file with this length, time of last change and head, without a log. The time is set when
/// the note is made, to one between the ticks of the kernel's clock that writes are stamped with: whoever writes later, were it at once, leaves another. So a
/// restored or edited file is checked at the door, as is one that k3s has written to meanwhile.
///
/// <code>
/// magic(8) bytes(8) time of last change, ticks of 100 ns(8) CRC-32C of the file's first 100 bytes(4) CRC-32C of these(4)        big-endian
/// </code>
/// </remarks>
internal static class CloseMark
{
    // SQLite's head: page size, change counter, pages, free pages, schema (sqlite.org/fileformat.html §1.3).
    private const int HeadBytes = 100;

    private const int MarkBytes = 32;

    private static ReadOnlySpan<byte> Magic => "k3sclose"u8;

    /// <summary>Where the note of a database is.</summary>
    public static string PathOf(string database) => $"{database}-closed";

    /// <summary>Notes that a database that is still taken was closed. Where that fails there is no note, and the next start takes longer.</summary>
    public static void Leave(string database, FileStream taken)
    {
        try
        {
            File.SetLastWriteTimeUtc(taken.SafeFileHandle, DateTime.UtcNow);
            Span<byte> mark = stackalloc byte[MarkBytes];
            if (!TryDescribe(database, taken, mark)) return;
            using var file = SideFile.Open(PathOf(database), FileMode.Create, database);
            RandomAccess.Write(file, mark, 0);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // As if it had been killed.
        }
    }

    /// <summary>Takes the note away; true = it holds for the file as it is.</summary>
    public static bool Take(string database, FileStream taken)
    {
        string path = PathOf(database);
        try
        {
            if (!File.Exists(path)) return false;
            Span<byte> noted = stackalloc byte[MarkBytes], now = stackalloc byte[MarkBytes];
            using (var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite))
            {
                if (RandomAccess.Read(file, noted, 0) != MarkBytes) noted.Clear();
            }
            File.Delete(path);
            return TryDescribe(database, taken, now) && noted.SequenceEqual(now);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static bool TryDescribe(string database, FileStream taken, Span<byte> mark)
    {
        Span<byte> head = stackalloc byte[HeadBytes];
        if (RandomAccess.Read(taken.SafeFileHandle, head, 0) != HeadBytes) return false;
        // What a log holds is not in the file.
        if (new FileInfo($"{database}-wal") is { Exists: true, Length: > 0 }) return false;
        Magic.CopyTo(mark);
        BinaryPrimitives.WriteInt64BigEndian(mark[8..], RandomAccess.GetLength(taken.SafeFileHandle));
        BinaryPrimitives.WriteInt64BigEndian(mark[16..], File.GetLastWriteTimeUtc(taken.SafeFileHandle).Ticks);
        BinaryPrimitives.WriteUInt32BigEndian(mark[24..], Crc(head));
        BinaryPrimitives.WriteUInt32BigEndian(mark[28..], Crc(mark[..28]));
        return true;
    }

    private static uint Crc(ReadOnlySpan<byte> words)
    {
        uint crc = uint.MaxValue;
        for (; words.Length >= 4; words = words[4..]) crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt32LittleEndian(words));
        return ~crc;
    }
}
