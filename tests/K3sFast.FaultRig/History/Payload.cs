using System.Security.Cryptography;
using System.Text;

namespace K3sFast.FaultRig.History;

/// <summary>
/// Values that prove themselves. Layout: <c>name LF filler LF checksum</c>; the filler follows from the name, the checksum (16 hex digits of
/// SHA-256) covers all before it. Text, so that it also fits a ConfigMap.
/// </summary>
internal static class Payload
{
    private const int ChecksumLength = 16;
    private const string Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// <summary>Makes the value called <paramref name="name"/>, about <paramref name="sizeBytes"/> long.</summary>
    public static byte[] Make(string name, int sizeBytes)
    {
        int filler = Math.Max(0, sizeBytes - name.Length - ChecksumLength - 2);
        byte[] bytes = new byte[name.Length + filler + ChecksumLength + 2];
        Encoding.ASCII.GetBytes(name, bytes);
        bytes[name.Length] = (byte)'\n';
        uint state = 2166136261;
        foreach (char letter in name) state = (state ^ letter) * 16777619;
        for (int i = 0; i < filler; i++)
        {
            // xorshift32
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            bytes[name.Length + 1 + i] = (byte)Alphabet[(int)(state & 63)];
        }
        bytes[name.Length + filler + 1] = (byte)'\n';
        WriteChecksum(bytes.AsSpan(0, bytes.Length - ChecksumLength), bytes.AsSpan(bytes.Length - ChecksumLength));
        return bytes;
    }

    /// <summary>The value's name; null when it is not whole.</summary>
    public static string? NameOf(ReadOnlySpan<byte> value)
    {
        if (value.Length < ChecksumLength + 2) return null;
        Span<byte> expected = stackalloc byte[ChecksumLength];
        WriteChecksum(value[..^ChecksumLength], expected);
        return value[^ChecksumLength..].SequenceEqual(expected) ? Encoding.ASCII.GetString(value[..value.IndexOf((byte)'\n')]) : null;
    }

    private static void WriteChecksum(ReadOnlySpan<byte> covered, Span<byte> destination)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(covered, hash);
        Convert.TryToHexStringLower(hash[..(ChecksumLength / 2)], destination, out _);
    }
}
