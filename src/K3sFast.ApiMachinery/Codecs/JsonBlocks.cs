using System.Numerics;
using System.Runtime.Intrinsics;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Finds where objects and arrays end, 64 bytes at a step: a bit per byte for quotes, backslashes and brackets; what lies between quotes is the running
/// exclusive or of their bits (as in simdjson's first stage).
/// </summary>
public static class JsonBlocks
{
    private const int BlockBytes = 64;

    /// <summary>
    /// The position behind the object or array that begins at <paramref name="start"/>; -1 when the text ends before it. With <paramref name="asWritten"/> also
    /// -1 when there is anything in it that has to be looked at closely to know whether upstream's encoder would write it so.
    /// </summary>
    /// <remarks>Allocates nothing; about 3 bytes a nanosecond.</remarks>
    public static int EndOf(ReadOnlySpan<byte> json, int start, bool asWritten)
    {
        Span<byte> last = stackalloc byte[BlockBytes];
        var depth = 0;
        var isEscaped = false;
        ulong stringBefore = 0;
        for (var at = start; at < json.Length; at += BlockBytes)
        {
            scoped ReadOnlySpan<byte> bytes;
            if (json.Length - at >= BlockBytes)
            {
                bytes = json.Slice(at, BlockBytes);
            }
            else
            {
                last.Clear();
                json[at..].CopyTo(last);
                bytes = last;
            }
            var block = new Block(bytes, asWritten);
            var escaped = isEscaped ? 1UL : 0;
            isEscaped = false;
            for (var backslashes = block.Backslashes & ~escaped; backslashes != 0;)
            {
                var i = BitOperations.TrailingZeroCount(backslashes);
                if (asWritten && !IsShortEscape(json, at + i + 1))
                    return -1;
                isEscaped = i == BlockBytes - 1;
                escaped |= 2UL << i;
                backslashes &= ~(3UL << i);
            }
            var inString = RunningXor(block.Quotes & ~escaped) ^ stringBefore;
            stringBefore = (ulong)((long)inString >> 63);
            var closing = block.Closing & ~inString;
            var opening = block.Opening & ~inString;
            var odd = block.Odd | (block.Spaces & ~inString);
            if (BitOperations.PopCount(closing) < depth)
            {
                if (odd != 0)
                    return -1;
                depth += BitOperations.PopCount(opening) - BitOperations.PopCount(closing);
                continue;
            }
            for (var brackets = opening | closing; brackets != 0; brackets &= brackets - 1)
            {
                var bit = brackets & (~brackets + 1);
                depth += (opening & bit) != 0 ? 1 : -1;
                if (depth == 0)
                    return (odd & (bit - 1)) == 0 ? at + BitOperations.TrailingZeroCount(bit) + 1 : -1;
            }
            if (odd != 0)
                return -1;
        }
        return -1;
    }

    private static bool IsShortEscape(ReadOnlySpan<byte> json, int at) =>
        at < json.Length && json[at] is (byte)'"' or (byte)'\\' or (byte)'n' or (byte)'r' or (byte)'t' or (byte)'b' or (byte)'f';

    // Bit i of the answer: whether the bits up to i are odd in number.
    private static ulong RunningXor(ulong bits)
    {
        bits ^= bits << 1;
        bits ^= bits << 2;
        bits ^= bits << 4;
        bits ^= bits << 8;
        bits ^= bits << 16;
        return bits ^ (bits << 32);
    }

    /// <summary>What is where in 64 bytes, a bit for each.</summary>
    private readonly ref struct Block
    {
        public readonly ulong Quotes;
        public readonly ulong Backslashes;
        public readonly ulong Opening;
        public readonly ulong Closing;
        public readonly ulong Spaces;

        /// <summary>What the encoder would escape, and the first byte of U+2028.</summary>
        public readonly ulong Odd;

        public Block(ReadOnlySpan<byte> bytes, bool asWritten)
        {
            for (var i = 0; i < BlockBytes; i += Vector128<byte>.Count)
            {
                var part = Vector128.Create(bytes.Slice(i, Vector128<byte>.Count));
                Quotes |= Bits(Vector128.Equals(part, Vector128.Create((byte)'"')), i);
                Backslashes |= Bits(Vector128.Equals(part, Vector128.Create((byte)'\\')), i);
                // [ and { differ in one bit, and so do ] and }.
                var folded = part | Vector128.Create((byte)0x20);
                Opening |= Bits(Vector128.Equals(folded, Vector128.Create((byte)'{')), i);
                Closing |= Bits(Vector128.Equals(folded, Vector128.Create((byte)'}')), i);
                if (!asWritten)
                    continue;
                Spaces |= Bits(Vector128.Equals(part, Vector128.Create((byte)' ')), i);
                // < and > differ in one bit.
                Odd |= Bits(
                    Vector128.Equals(part | Vector128.Create((byte)2), Vector128.Create((byte)'>')) | Vector128.Equals(part, Vector128.Create((byte)'&'))
                        | Vector128.Equals(part, Vector128.Create((byte)0xE2)) | Vector128.LessThan(part, Vector128.Create((byte)' ')),
                    i);
            }
        }

        private static ulong Bits(Vector128<byte> found, int at) => (ulong)found.ExtractMostSignificantBits() << at;
    }
}
