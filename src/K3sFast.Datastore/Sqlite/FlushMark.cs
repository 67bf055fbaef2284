using System.Buffers.Binary;
using System.Numerics;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// A note beside the log of how much of it was flushed: what lies up to there is acknowledged, so that damage in it is no torn tail
/// (<see cref="LogCheck"/>). Written after each flush and before anybody is told of it; never flushed itself.
/// </summary>
/// <remarks>
/// After a kill the note is exact. After a power cut it may be older than the log, or be gone: it then says less, and nothing wrong. It holds for one generation of
/// the log, whose salt it names. The file's name comes before the log's, so that a copy of the directory takes it first.
///
/// <code>
/// magic(8) flushed frames(8) salt(8) checksum of the last of them(8) CRC-32C of these(4)        big-endian; salt and checksum as in the log
/// </code>
/// </remarks>
internal sealed class FlushMark : IDisposable
{
    // Of the log (see LogCheck); salt and checksum lie together in a frame's head.
    private const int LogHeaderBytes = 32;
    private const int FrameHeaderBytes = 24;
    private const int SaltOffset = 8;
    private const int SaltAndSumBytes = 16;

    private const int MarkBytes = 36;

    private readonly SafeFileHandle _log;
    private readonly SafeFileHandle _mark;
    private readonly int _frameBytes;
    private readonly ILogger _logger;
    private readonly string _path;
    private bool _isFailing;

    private FlushMark(string path, SafeFileHandle log, SafeFileHandle mark, int pageBytes, ILogger logger) =>
        (_path, _log, _mark, _frameBytes, _logger) = (path, log, mark, FrameHeaderBytes + pageBytes, logger);

    private static ReadOnlySpan<byte> Magic => "k3sflush"u8;

    /// <summary>Where the note of a database is.</summary>
    public static string PathOf(string database) => $"{database}-flushed";

    /// <summary>Opens or makes the note of a database whose log is open; null = it cannot be made, which the log tells.</summary>
    public static FlushMark? Open(string database, int pageBytes, ILogger logger)
    {
        SafeFileHandle? log = null;
        try
        {
            log = File.OpenHandle($"{database}-wal", FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            return new FlushMark(database, log, SideFile.Open(PathOf(database), FileMode.OpenOrCreate, database), pageBytes, logger);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            log?.Dispose();
            Log.MarkFailed(logger, PathOf(database), error.Message);
            return null;
        }
    }

    /// <summary>What a flush of the log's first frames would have flushed; nothing of a log that has fewer. The writer thread, between its transactions.</summary>
    public Flushed EndOf(int frames)
    {
        if (frames <= 0) return default;
        Span<byte> saltAndSum = stackalloc byte[SaltAndSumBytes];
        try
        {
            if (RandomAccess.Read(_log, saltAndSum, LogHeaderBytes + ((frames - 1L) * _frameBytes) + SaltOffset) != SaltAndSumBytes) return default;
        }
        catch (IOException error)
        {
            NoteFailure(error);
            return default;
        }
        return new Flushed(frames, BinaryPrimitives.ReadUInt64BigEndian(saltAndSum), BinaryPrimitives.ReadUInt64BigEndian(saltAndSum[8..]));
    }

    /// <summary>So much of the log was flushed. The writer thread; one system call, allocates nothing.</summary>
    public void Note(in Flushed flushed)
    {
        if (flushed.Frames <= 0) return;
        Span<byte> mark = stackalloc byte[MarkBytes];
        Magic.CopyTo(mark);
        BinaryPrimitives.WriteInt64BigEndian(mark[8..], flushed.Frames);
        BinaryPrimitives.WriteUInt64BigEndian(mark[16..], flushed.Salt);
        BinaryPrimitives.WriteUInt64BigEndian(mark[24..], flushed.Sum);
        BinaryPrimitives.WriteUInt32BigEndian(mark[32..], Crc(mark[..32]));
        try
        {
            RandomAccess.Write(_mark, mark, 0);
            _isFailing = false;
        }
        catch (IOException error)
        {
            NoteFailure(error);
        }
    }

    /// <summary>What the note of a database says; false = nothing.</summary>
    public static bool TryRead(string database, out Flushed flushed)
    {
        flushed = default;
        string path = PathOf(database);
        if (!File.Exists(path)) return false;
        using var file = File.OpenHandle(path);
        Span<byte> mark = stackalloc byte[MarkBytes];
        if (RandomAccess.Read(file, mark, 0) != MarkBytes || !mark.StartsWith(Magic) || BinaryPrimitives.ReadUInt32BigEndian(mark[32..]) != Crc(mark[..32])) return false;
        flushed = new Flushed(BinaryPrimitives.ReadInt64BigEndian(mark[8..]), BinaryPrimitives.ReadUInt64BigEndian(mark[16..]), BinaryPrimitives.ReadUInt64BigEndian(mark[24..]));
        return true;
    }

    public void Dispose()
    {
        _log.Dispose();
        _mark.Dispose();
    }

    // The older note stays true.
    private void NoteFailure(IOException error)
    {
        if (!_isFailing) Log.MarkFailed(_logger, PathOf(_path), error.Message);
        _isFailing = true;
    }

    private static uint Crc(ReadOnlySpan<byte> words)
    {
        uint crc = uint.MaxValue;
        for (; words.Length >= 8; words = words[8..]) crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(words));
        return ~crc;
    }
}

/// <summary>So many frames of a log with this salt were flushed; the last of them had this checksum.</summary>
internal readonly record struct Flushed(long Frames, ulong Salt, ulong Sum);
