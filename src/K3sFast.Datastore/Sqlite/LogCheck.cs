using System.Buffers.Binary;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Looks at the write-ahead log that a killed process left, before SQLite does: SQLite reads it up to the first frame that is not as it was
/// written and takes the rest for what a power cut tore. After a turned bit that rest is acknowledged changes.
/// </summary>
/// <remarks>
/// A power cut tears only what was not flushed: one group and some steps of maintenance. So more transactions than these behind the
/// first bad frame, of the same generation of the log, say that it was whole once.
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
    private const int HeaderBytes = 32;
    private const int FrameHeaderBytes = 24;
    private const uint MagicLittleEndian = 0x377f0682;

    // One group's, with what failed flushes may have left behind it.
    private const int TornTransactions = Maintenance.MaxUnflushedSteps + 4;

    /// <summary>What is wrong with the log at <paramref name="path"/>, or null.</summary>
    public static string? FindDamage(string path)
    {
        if (!File.Exists(path)) return null;
        using var log = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 1 << 16, FileOptions.SequentialScan);
        Span<byte> header = stackalloc byte[HeaderBytes];
        if (log.ReadAtLeast(header, HeaderBytes, throwOnEndOfStream: false) < HeaderBytes) return null;
        uint magic = BinaryPrimitives.ReadUInt32BigEndian(header);
        int pageBytes = BinaryPrimitives.ReadInt32BigEndian(header[8..]);
        // A torn head is of a log whose frames were all copied before.
        if ((magic & ~1u) != MagicLittleEndian || pageBytes is < 512 or > 65536) return null;
        var sum = new Sum((magic & 1) != 0);
        sum.Add(header[..24]);
        if (!sum.IsAt(header[24..])) return null;

        byte[] frame = new byte[FrameHeaderBytes + pageBytes];
        int number = 0, bad = 0, transactionsBehind = 0;
        while (log.ReadAtLeast(frame, frame.Length, throwOnEndOfStream: false) == frame.Length)
        {
            number++;
            // Frames of an earlier generation lie behind the newest one's end.
            if (!frame.AsSpan(8, 8).SequenceEqual(header[16..24]))
            {
                if (bad == 0) bad = number;
                continue;
            }
            if (bad == 0)
            {
                sum.Add(frame.AsSpan(0, 8));
                sum.Add(frame.AsSpan(FrameHeaderBytes));
                if (!sum.IsAt(frame.AsSpan(16, 8))) bad = number;
            }
            if (bad != 0 && BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(4)) != 0) transactionsBehind++;
        }
        return transactionsBehind > TornTransactions ? $"frame {bad} of {path} is not as it was written, and {transactionsBehind} transactions lie behind it" : null;
    }

    private struct Sum(bool isBigEndian)
    {
        private uint _a;
        private uint _b;

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

        public readonly bool IsAt(ReadOnlySpan<byte> stored) =>
            BinaryPrimitives.ReadUInt32BigEndian(stored) == _a && BinaryPrimitives.ReadUInt32BigEndian(stored[4..]) == _b;
    }
}
