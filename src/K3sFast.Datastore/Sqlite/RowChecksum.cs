using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// CRC-32C over all that a row says: SQLite itself would hand out a value in which the medium has turned a bit. Layout of what is summed:
/// id, create_revision, prev_revision, lease (each 8 bytes, little endian), 1 byte created | deleted &lt;&lt; 1, the name, the value.
/// </summary>
/// <remarks>
/// A column of the row itself: no page more is written for it. Allocates nothing. The instruction gives its result after three cycles and could begin anew at each, so
/// long values are summed as three pieces side by side, put together by what so many zero bytes make of a sum.
/// </remarks>
internal static class RowChecksum
{
    // Of each of the three pieces; a value of a usual object holds some of them.
    private const int PieceBytes = 128;
    private const int PieceWords = PieceBytes / sizeof(ulong);

    // What PieceBytes zero bytes make of a sum, for each value of each of its four bytes.
    private static readonly uint[] s_behindPiece = BehindPiece();

    public static uint Of(long id, ReadOnlySpan<byte> name, bool isCreated, bool isDeleted, long createRevision, long prevRevision, long lease, ReadOnlySpan<byte> value)
    {
        uint crc = uint.MaxValue;
        crc = BitOperations.Crc32C(crc, (ulong)id);
        crc = BitOperations.Crc32C(crc, (ulong)createRevision);
        crc = BitOperations.Crc32C(crc, (ulong)prevRevision);
        crc = BitOperations.Crc32C(crc, (ulong)lease);
        crc = BitOperations.Crc32C(crc, (byte)((isCreated ? 1 : 0) | (isDeleted ? 2 : 0)));
        return ~Add(Add(crc, name), value);
    }

    /// <summary>Of a key's bytes alone.</summary>
    public static uint OfName(ReadOnlySpan<byte> name) => Add(uint.MaxValue, name);

    private static uint Add(uint crc, ReadOnlySpan<byte> bytes)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        while (words.Length >= 3 * PieceWords)
        {
            uint second = 0, third = 0;
            for (int i = 0; i < PieceWords; i++)
            {
                crc = BitOperations.Crc32C(crc, LittleEndian(words[i]));
                second = BitOperations.Crc32C(second, LittleEndian(words[i + PieceWords]));
                third = BitOperations.Crc32C(third, LittleEndian(words[i + (2 * PieceWords)]));
            }
            crc = Behind(Behind(crc) ^ second) ^ third;
            words = words[(3 * PieceWords)..];
        }
        foreach (ulong word in words) crc = BitOperations.Crc32C(crc, LittleEndian(word));
        foreach (byte one in bytes[(bytes.Length & ~7)..]) crc = BitOperations.Crc32C(crc, one);
        return crc;
    }

    private static ulong LittleEndian(ulong word) => BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word);

    private static uint Behind(uint crc)
    {
        uint[] table = s_behindPiece;
        return table[crc & 0xff] ^ table[256 + (int)((crc >> 8) & 0xff)] ^ table[512 + (int)((crc >> 16) & 0xff)] ^ table[768 + (int)(crc >> 24)];
    }

    private static uint[] BehindPiece()
    {
        uint[] table = new uint[4 * 256];
        for (int i = 0; i < table.Length; i++)
        {
            uint crc = (uint)(i & 0xff) << (8 * (i >> 8));
            for (int word = 0; word < PieceWords; word++) crc = BitOperations.Crc32C(crc, 0UL);
            table[i] = crc;
        }
        return table;
    }
}
