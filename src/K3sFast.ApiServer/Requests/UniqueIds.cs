using System.Security.Cryptography;

namespace K3sFast.ApiServer;

/// <summary>
/// Random UUIDs (RFC 9562 §5.4) for requests and objects, from the cryptographic generator, of which each thread draws many at once: one by one they
/// are a system call each, and every request has one.
/// </summary>
internal static class UniqueIds
{
    private const int IdBytes = 16;

    // A kilobyte for each thread that serves.
    private const int Ids = 64;

    [ThreadStatic]
    private static byte[]? t_drawn;

    [ThreadStatic]
    private static int t_left;

    /// <summary>The next one, as text.</summary>
    /// <remarks>Any thread; allocates nothing but the text.</remarks>
    internal static string Next()
    {
        var drawn = t_drawn ??= new byte[Ids * IdBytes];
        if (t_left == 0)
        {
            RandomNumberGenerator.Fill(drawn);
            t_left = Ids;
        }
        var id = drawn.AsSpan(--t_left * IdBytes, IdBytes);
        // Version 4 in the upper half of the seventh byte, variant 10 in the upper bits of the ninth.
        id[6] = (byte)(id[6] & 0x0f | 0x40);
        id[8] = (byte)(id[8] & 0x3f | 0x80);
        return new Guid(id, bigEndian: true).ToString();
    }
}
