using System.Numerics;
using System.Security.Cryptography;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Verification of Ed25519 signatures (RFC 8032 §5.1.7), which the platform's library does not do. Some milliseconds each and not constant in time: for
/// public keys and signatures only.
/// </summary>
internal static class Ed25519
{
    internal const int KeyBytes = 32;

    private const int SignatureBytes = 64;

    // p = 2^255 - 19, the field; L = 2^252 + ..., the order of the base point; d of the curve -x² + y² = 1 + d x² y² (RFC 8032 §5.1).
    private static readonly BigInteger s_prime = BigInteger.Pow(2, 255) - 19;
    private static readonly BigInteger s_order = BigInteger.Pow(2, 252) + BigInteger.Parse("27742317777372353535851937790883648493", System.Globalization.CultureInfo.InvariantCulture);
    private static readonly BigInteger s_d = Mod(-121665 * Inverse(121666));
    private static readonly BigInteger s_rootOfMinusOne = BigInteger.ModPow(2, (s_prime - 1) / 4, s_prime);
    private static readonly Point s_base = MakeBase();

    /// <summary>Whether the signature is that key's for the message.</summary>
    internal static bool Verify(ReadOnlySpan<byte> key, ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature)
    {
        if (key.Length != KeyBytes || signature.Length != SignatureBytes || Decode(key) is not { } owner)
            return false;
        var s = new BigInteger(signature[32..], isUnsigned: true);
        if (s >= s_order)
            return false;
        Span<byte> digest = stackalloc byte[SHA512.HashSizeInBytes];
        using (var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA512))
        {
            hash.AppendData(signature[..32]);
            hash.AppendData(key);
            hash.AppendData(message);
            hash.GetHashAndReset(digest);
        }
        var k = new BigInteger(digest, isUnsigned: true) % s_order;
        // R = [s]B - [k]A, compared by its bytes.
        var negated = new Point(Mod(-owner.X), owner.Y, owner.Z, Mod(-owner.T));
        Span<byte> wanted = stackalloc byte[32];
        Encode(Add(Times(s, s_base), Times(k, negated)), wanted);
        return wanted.SequenceEqual(signature[..32]);
    }

    private static Point MakeBase()
    {
        var y = Mod(4 * Inverse(5));
        Root(y, isOdd: false, out var x);
        return new Point(x, y, 1, Mod(x * y));
    }

    private static Point? Decode(ReadOnlySpan<byte> bytes)
    {
        Span<byte> copy = stackalloc byte[32];
        bytes.CopyTo(copy);
        var isOdd = (copy[31] & 0x80) != 0;
        copy[31] &= 0x7F;
        var y = Mod(new BigInteger(copy, isUnsigned: true));
        return Root(y, isOdd, out var x) ? new Point(x, y, 1, Mod(x * y)) : null;
    }

    private static void Encode(Point point, Span<byte> bytes)
    {
        var inverse = Inverse(point.Z);
        BigInteger x = Mod(point.X * inverse), y = Mod(point.Y * inverse);
        bytes.Clear();
        y.TryWriteBytes(bytes, out _, isUnsigned: true);
        if (!x.IsEven)
            bytes[31] |= 0x80;
    }

    // x² = (y² - 1) / (d y² + 1), RFC 8032 §5.1.3.
    private static bool Root(BigInteger y, bool isOdd, out BigInteger x)
    {
        var square = Mod(((y * y) - 1) * Inverse((s_d * y * y) + 1));
        x = BigInteger.ModPow(square, (s_prime + 3) / 8, s_prime);
        if (Mod((x * x) - square) != 0)
            x = Mod(x * s_rootOfMinusOne);
        if (Mod((x * x) - square) != 0)
            return false;
        if (x.IsZero && isOdd)
            return false;
        if (x.IsEven == isOdd)
            x = s_prime - x;
        return true;
    }

    // RFC 8032 §5.1.4.
    private static Point Add(Point left, Point right)
    {
        var a = Mod((left.Y - left.X) * (right.Y - right.X));
        var b = Mod((left.Y + left.X) * (right.Y + right.X));
        var c = Mod(2 * left.T * right.T * s_d);
        var d = Mod(2 * left.Z * right.Z);
        BigInteger e = b - a, f = d - c, g = d + c, h = b + a;
        return new Point(Mod(e * f), Mod(g * h), Mod(f * g), Mod(e * h));
    }

    private static Point Times(BigInteger factor, Point point)
    {
        var sum = new Point(0, 1, 1, 0);
        for (; !factor.IsZero; factor >>= 1, point = Add(point, point))
        {
            if (!factor.IsEven)
                sum = Add(sum, point);
        }
        return sum;
    }

    private static BigInteger Inverse(BigInteger value) => BigInteger.ModPow(Mod(value), s_prime - 2, s_prime);

    private static BigInteger Mod(BigInteger value)
    {
        var rest = value % s_prime;
        return rest.Sign < 0 ? rest + s_prime : rest;
    }

    /// <summary>Extended coordinates: x = X/Z, y = Y/Z, x y = T/Z.</summary>
    private readonly record struct Point(BigInteger X, BigInteger Y, BigInteger Z, BigInteger T);
}
