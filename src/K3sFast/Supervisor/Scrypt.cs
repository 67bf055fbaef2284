using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using K3sFast.Interop.Memory;

namespace K3sFast.Supervisor;

/// <summary>The password hash of RFC 7914: slow and hungry on purpose.</summary>
/// <remarks>
/// PBKDF2-HMAC-SHA256 of one round around a mixing of p blocks of 128 * r bytes, each through a table of N blocks. The table is native memory, given
/// back at once: 32 MB at k3s's parameters would else stay with the collector.
/// </remarks>
internal static class Scrypt
{
    /// <summary>The key for a password. <paramref name="n"/> is a power of two. O(n * r * p) time, 128 * n * r bytes meanwhile.</summary>
    public static byte[] Derive(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, int n, int r, int p, int length)
    {
        if (n < 2 || !BitOperations.IsPow2(n) || r < 1 || p < 1 || (long)n * r > 1 << 20 || (long)r * p >= 1 << 16)
            throw new ArgumentException("scrypt parameters are out of bounds");
        var blocks = Rfc2898DeriveBytes.Pbkdf2(password, salt, 1, HashAlgorithmName.SHA256, p * 128 * r);
        for (var i = 0; i < p; i++)
            Mix(blocks.AsSpan(i * 128 * r, 128 * r), n, r);
        return Rfc2898DeriveBytes.Pbkdf2(password, blocks, 1, HashAlgorithmName.SHA256, length);
    }

    // RFC 7914 §5: scryptROMix
    private static void Mix(Span<byte> block, int n, int r)
    {
        var words = 32 * r;
        var x = new uint[words];
        var y = new uint[words];
        for (var i = 0; i < words; i++)
            x[i] = BinaryPrimitives.ReadUInt32LittleEndian(block[(i * 4)..]);
        using var memory = new NativeWords(n * words);
        var table = memory.Span;
        for (var i = 0; i < n; i++)
        {
            x.CopyTo(table.Slice(i * words, words));
            MixBlock(x, y, r);
        }
        for (var i = 0; i < n; i++)
        {
            var row = table.Slice((int)(x[(2 * r * 16) - 16] & (uint)(n - 1)) * words, words);
            for (var j = 0; j < words; j++)
                x[j] ^= row[j];
            MixBlock(x, y, r);
        }
        for (var i = 0; i < words; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(block[(i * 4)..], x[i]);
    }

    // RFC 7914 §4: scryptBlockMix; even blocks come first in the result.
    private static void MixBlock(uint[] x, uint[] y, int r)
    {
        Span<uint> state = stackalloc uint[16];
        x.AsSpan((2 * r * 16) - 16, 16).CopyTo(state);
        for (var i = 0; i < 2 * r; i++)
        {
            for (var j = 0; j < 16; j++)
                state[j] ^= x[(i * 16) + j];
            Salsa(state);
            state.CopyTo(y.AsSpan((((i & 1) * r) + (i / 2)) * 16, 16));
        }
        y.CopyTo(x, 0);
    }

    // RFC 7914 §3: Salsa20/8, a column and a row round four times. Local words stay in registers; a million of these make one hash.
    private static void Salsa(Span<uint> state)
    {
        var (x0, x1, x2, x3) = (state[0], state[1], state[2], state[3]);
        var (x4, x5, x6, x7) = (state[4], state[5], state[6], state[7]);
        var (x8, x9, x10, x11) = (state[8], state[9], state[10], state[11]);
        var (x12, x13, x14, x15) = (state[12], state[13], state[14], state[15]);
        for (var round = 0; round < 4; round++)
        {
            Quarter(ref x0, ref x4, ref x8, ref x12);
            Quarter(ref x5, ref x9, ref x13, ref x1);
            Quarter(ref x10, ref x14, ref x2, ref x6);
            Quarter(ref x15, ref x3, ref x7, ref x11);
            Quarter(ref x0, ref x1, ref x2, ref x3);
            Quarter(ref x5, ref x6, ref x7, ref x4);
            Quarter(ref x10, ref x11, ref x8, ref x9);
            Quarter(ref x15, ref x12, ref x13, ref x14);
        }
        (state[0], state[1], state[2], state[3]) = (state[0] + x0, state[1] + x1, state[2] + x2, state[3] + x3);
        (state[4], state[5], state[6], state[7]) = (state[4] + x4, state[5] + x5, state[6] + x6, state[7] + x7);
        (state[8], state[9], state[10], state[11]) = (state[8] + x8, state[9] + x9, state[10] + x10, state[11] + x11);
        (state[12], state[13], state[14], state[15]) = (state[12] + x12, state[13] + x13, state[14] + x14, state[15] + x15);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Quarter(ref uint a, ref uint b, ref uint c, ref uint d)
    {
        b ^= BitOperations.RotateLeft(a + d, 7);
        c ^= BitOperations.RotateLeft(b + a, 9);
        d ^= BitOperations.RotateLeft(c + b, 13);
        a ^= BitOperations.RotateLeft(d + c, 18);
    }
}
