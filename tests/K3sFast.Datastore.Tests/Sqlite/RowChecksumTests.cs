using System.Text;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

public sealed class RowChecksumTests
{
    /// <summary>CRC-32C by its definition: the polynomial 0x1EDC6F41, bits reversed (RFC 3720 §12.1), over the layout that <see cref="RowChecksum"/> tells.</summary>
    [Fact]
    public void Of_ValuesOfEveryLength_IsTheSumOfTheirBytes()
    {
        byte[] value = new byte[2_000];
        new Random(7).NextBytes(value);
        for (int length = 0; length < value.Length; length += length < 800 ? 1 : 97)
        {
            byte[] name = Encoding.UTF8.GetBytes($"/registry/{length}");
            byte[] layout = [.. BitConverter.GetBytes(5L), .. BitConverter.GetBytes(3L), .. BitConverter.GetBytes(4L), .. BitConverter.GetBytes(60L), 1, .. name, .. value[..length]];
            uint expected = uint.MaxValue;
            foreach (byte one in layout)
            {
                expected ^= one;
                for (int bit = 0; bit < 8; bit++) expected = (expected & 1) != 0 ? (expected >> 1) ^ 0x82F63B78 : expected >> 1;
            }
            Assert.Equal(~expected, RowChecksum.Of(5, name, isCreated: true, isDeleted: false, 3, 4, 60, value.AsSpan(0, length)));
        }
    }

    [Fact]
    public void Of_AValueWithOneBitTurned_IsAnother()
    {
        byte[] value = new byte[1_300];
        new Random(8).NextBytes(value);
        uint whole = RowChecksum.Of(1, "/k"u8, true, false, 0, 0, 0, value);
        for (int bit = 0; bit < value.Length * 8; bit++)
        {
            value[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.NotEqual(whole, RowChecksum.Of(1, "/k"u8, true, false, 0, 0, 0, value));
            value[bit / 8] ^= (byte)(1 << (bit % 8));
        }
    }
}
