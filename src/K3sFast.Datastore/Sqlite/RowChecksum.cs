using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// CRC-32C over all that a row says: SQLite itself would hand out a value in which the medium has turned a bit. Layout of what is summed:
/// id, create_revision, prev_revision, lease (each 8 bytes, little endian), 1 byte created | deleted &lt;&lt; 1, the name, the value.
/// </summary>
/// <remarks>A column of the row itself: no page more is written for it. Allocates nothing; about 10 GB/s.</remarks>
internal static class RowChecksum
{
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
        foreach (ulong word in MemoryMarshal.Cast<byte, ulong>(bytes))
        {
            crc = BitOperations.Crc32C(crc, BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word));
        }
        foreach (byte one in bytes[(bytes.Length & ~7)..]) crc = BitOperations.Crc32C(crc, one);
        return crc;
    }
}
