using System.Buffers.Binary;
using System.Numerics;
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

    // RFC 7914 §3: Salsa20/8
    private static void Salsa(Span<uint> state)
    {
        Span<uint> x = stackalloc uint[16];
        state.CopyTo(x);
        for (var round = 0; round < 4; round++)
        {
            Quarter(x, 0, 4, 8, 12);
            Quarter(x, 5, 9, 13, 1);
            Quarter(x, 10, 14, 2, 6);
            Quarter(x, 15, 3, 7, 11);
            Quarter(x, 0, 1, 2, 3);
            Quarter(x, 5, 6, 7, 4);
            Quarter(x, 10, 11, 8, 9);
            Quarter(x, 15, 12, 13, 14);
        }
        for (var i = 0; i < 16; i++)
            state[i] += x[i];
    }

    private static void Quarter(Span<uint> x, int a, int b, int c, int d)
    {
        x[b] ^= BitOperations.RotateLeft(x[a] + x[d], 7);
        x[c] ^= BitOperations.RotateLeft(x[b] + x[a], 9);
        x[d] ^= BitOperations.RotateLeft(x[c] + x[b], 13);
        x[a] ^= BitOperations.RotateLeft(x[d] + x[c], 18);
    }
}
