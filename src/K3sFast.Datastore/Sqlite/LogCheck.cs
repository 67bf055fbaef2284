using System.Buffers.Binary;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Looks at the write-ahead log that a killed process left, before SQLite does: SQLite reads it up to the first frame that is not as it was
/// written and takes the rest for what a power cut tore. After a turned bit that rest is acknowledged changes.
/// </summary>
/// <remarks>
/// Two witnesses tell one from the other. The note of what was flushed (<see cref="FlushMark"/>): up to there nothing can be torn. And what lies behind: a power cut
/// tears only what was not flushed, a few groups and some steps of maintenance, so more transactions than these behind the first bad frame, of the same
/// generation of the log, say that it was whole once.
///
/// <code>
/// log:   magic(4) version(4) page size(4) sequence(4) salt(8) checksum(8), frames        all big-endian
/// frame: page number(4) pages of the file after a commit, else 0 (4) salt(8) checksum(8), page
/// </code>
/// Checksums run on from frame to frame, over the frame's first 8 bytes and its page, in words of the byte order that the magic's last bit
/// tells (sqlite.org/fileformat.html §4).
/// </remarks>
internal static class LogCheck
{
    internal const int HeaderBytes = 32;
    internal const int FrameHeaderBytes = 24;
    private const int PageBytes = 4096;
    private const uint MagicLittleEndian = 0x377f0682;

    // Those of the groups whose flushes run, with what failed flushes may have left behind them.
    private const int TornTransactions = Maintenance.MaxUnflushedSteps + FlushPace.MaxFlushes + 4;

    /// <summary>What is wrong with the log of a database that is taken, or null.</summary>
    public static string? FindDamage(string database, FileStream taken)
    {
        string path = $"{database}-wal";
        if (!File.Exists(path)) return null;
        Flushed? flushed = FlushMark.TryRead(database, out var mark) ? mark : null;
        using var log = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 1 << 16, FileOptions.SequentialScan);
        byte[] header = new byte[HeaderBytes];
        if (log.ReadAtLeast(header, HeaderBytes, throwOnEndOfStream: false) < HeaderBytes) return null;
        // What the first transaction after it wrote may lie over a part of the old frames.
        if (LogSeal.IsSeal(header)) return null;
        uint magic = BinaryPrimitives.ReadUInt32BigEndian(header);
        int pageBytes = BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(8));
        var sum = new Sum((magic & 1) != 0);
        sum.Add(header.AsSpan(0, 24));
        if ((magic & ~1u) != MagicLittleEndian || pageBytes is < 512 or > 65536 || !sum.IsAt(header.AsSpan(24)))
        {
            // A torn head is of a log whose frames were all copied before.
            return flushed is { } last && (HoldsMore(log, taken, last, isBigEndian: false) || HoldsMore(log, taken, last, isBigEndian: true)) ? $"the head of {path} is not as it was written, and {last.Frames} frames behind it are not in the database" : null;
        }
        return FindDamage(log, path, header, pageBytes, sum, flushed);
    }

    private static string? FindDamage(FileStream log, string path, byte[] header, int pageBytes, Sum sum, Flushed? flushed)
    {
        ulong salt = BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(16));
        // A note of an earlier generation says nothing of this one.
        long whole = flushed is { } mark && mark.Salt == salt ? mark.Frames : 0;
        byte[] frame = new byte[FrameHeaderBytes + pageBytes];
        int number = 0, bad = 0, transactionsBehind = 0;
        while (log.ReadAtLeast(frame, frame.Length, throwOnEndOfStream: false) == frame.Length)
        {
            number++;
            // Frames of an earlier generation lie behind the newest one's end.
            if (BinaryPrimitives.ReadUInt64BigEndian(frame.AsSpan(8)) != salt)
            {
                if (bad == 0) bad = number;
                continue;
            }
            if (bad == 0)
            {
                sum.Add(frame.AsSpan(0, 8));
                sum.Add(frame.AsSpan(FrameHeaderBytes));
                if (!sum.IsAt(frame.AsSpan(16, 8))) bad = number;
                else if (number == whole && !sum.IsAt(flushed!.Value.Sum)) return $"frame {number} of {path} is another than was flushed";
            }
            if (bad != 0 && BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(4)) != 0) transactionsBehind++;
        }
        if (bad != 0 && bad <= whole) return $"frame {bad} of {path} is not as it was written, and {whole} were flushed";
        if (number < whole) return $"{path} ends with frame {number}, and {whole} were flushed";
        return transactionsBehind > TornTransactions ? $"frame {bad} of {path} is not as it was written, and {transactionsBehind} transactions lie behind it" : null;
    }

    /// <summary>True when the flushed frames are there and say another thing than the database: they were not copied, so the log had not begun anew.</summary>
    private static bool HoldsMore(FileStream log, FileStream database, Flushed flushed, bool isBigEndian)
    {
        var newest = new Dictionary<uint, long>();
        var open = new List<(uint Page, long Offset)>();
        byte[] frame = new byte[FrameHeaderBytes + PageBytes];
        uint filePages = 0;
        bool isFlushedThere = false;
        log.Position = HeaderBytes;
        var sum = default(Sum);
        for (long number = 1; log.ReadAtLeast(frame, frame.Length, throwOnEndOfStream: false) == frame.Length; number++)
        {
            if (BinaryPrimitives.ReadUInt64BigEndian(frame.AsSpan(8)) != flushed.Salt) break;
            // The first one's checksum follows from the head.
            sum.Add(frame.AsSpan(0, 8));
            sum.Add(frame.AsSpan(FrameHeaderBytes));
            if (number > 1 && !sum.IsAt(frame.AsSpan(16, 8))) break;
            sum = Sum.At(frame.AsSpan(16, 8), isBigEndian);
            isFlushedThere |= number == flushed.Frames && sum.IsAt(flushed.Sum);
            open.Add((BinaryPrimitives.ReadUInt32BigEndian(frame), log.Position - PageBytes));
            if (BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(4)) is var pagesNow and not 0)
            {
                foreach (var (page, offset) in open) newest[page] = offset;
                open.Clear();
                filePages = pagesNow;
            }
        }
        return isFlushedThere && newest.Any(pair => pair.Key <= filePages && !IsCopied(log, database, pair.Key, pair.Value));
    }

    private static bool IsCopied(FileStream log, FileStream database, uint page, long offset)
    {
        byte[] there = new byte[PageBytes], here = new byte[PageBytes];
        database.Position = (page - 1L) * PageBytes;
        log.Position = offset;
        log.ReadExactly(there);
        return database.ReadAtLeast(here, PageBytes, throwOnEndOfStream: false) == PageBytes && here.AsSpan().SequenceEqual(there);
    }

    /// <summary>The running checksum of a log.</summary>
    internal struct Sum(bool isBigEndian)
    {
        private uint _a;
        private uint _b;

        /// <summary>The sum that goes on from a stored one.</summary>
        public static Sum At(ReadOnlySpan<byte> stored, bool isBigEndian) =>
            new(isBigEndian) { _a = BinaryPrimitives.ReadUInt32BigEndian(stored), _b = BinaryPrimitives.ReadUInt32BigEndian(stored[4..]) };

        public void Add(ReadOnlySpan<byte> bytes)
        {
            for (; bytes.Length >= 8; bytes = bytes[8..])
            {
                uint first = isBigEndian ? BinaryPrimitives.ReadUInt32BigEndian(bytes) : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
                uint second = isBigEndian ? BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]) : BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
                _a += first + _b;
                _b += second + _a;
            }
        }

        public readonly bool IsAt(ReadOnlySpan<byte> stored) => IsAt(BinaryPrimitives.ReadUInt64BigEndian(stored));

        public readonly bool IsAt(ulong stored) => stored == (((ulong)_a << 32) | _b);
    }
}
