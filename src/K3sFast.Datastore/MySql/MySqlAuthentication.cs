using System.Security.Cryptography;
using System.Text;

namespace K3sFast.Datastore.MySql;

/// <summary>How MySQL's and MariaDB's plug-ins prove a password (MySQL internals, "Authentication Method").</summary>
internal static class MySqlAuthentication
{
    /// <summary>The first answer of a plug-in to the server's random bytes; null = the plug-in is not known.</summary>
    public static byte[]? Answer(string plugin, string password, ReadOnlySpan<byte> seed, bool isPrivate) => plugin switch
    {
        _ when password.Length == 0 && plugin is "mysql_native_password" or "caching_sha2_password" && password.Length == 0 => [],
        "mysql_native_password" => Native(password, seed),
        "caching_sha2_password" => CachingSha2(password, seed),
        // The password itself: only where nobody listens.
        "mysql_clear_password" when isPrivate => Clear(password),
        _ => null,
    };

    public static byte[] Clear(string password) => [.. Encoding.UTF8.GetBytes(password), 0];

    /// <summary>The password for a server whose public key is known, where the way is not private.</summary>
    public static byte[] Encrypt(string password, ReadOnlySpan<byte> seed, string publicKeyPem)
    {
        byte[] hidden = Clear(password);
        for (int i = 0; i < hidden.Length; i++) hidden[i] ^= seed[i % seed.Length];
        using var key = RSA.Create();
        key.ImportFromPem(publicKeyPem);
        return key.Encrypt(hidden, RSAEncryptionPadding.OaepSHA1);
    }

#pragma warning disable CA5350 // The plug-in's definition.
    // SHA1(password) XOR SHA1(seed + SHA1(SHA1(password)))
    private static byte[] Native(string password, ReadOnlySpan<byte> seed)
    {
        byte[] once = SHA1.HashData(Encoding.UTF8.GetBytes(password));
        return Xor(once, SHA1.HashData([.. seed, .. SHA1.HashData(once)]));
    }
#pragma warning restore CA5350

    // SHA256(password) XOR SHA256(SHA256(SHA256(password)) + seed)
    private static byte[] CachingSha2(string password, ReadOnlySpan<byte> seed)
    {
        byte[] once = SHA256.HashData(Encoding.UTF8.GetBytes(password));
        return Xor(once, SHA256.HashData([.. SHA256.HashData(once), .. seed]));
    }

    private static byte[] Xor(byte[] left, byte[] right)
    {
        for (int i = 0; i < left.Length; i++) left[i] ^= right[i];
        return left;
    }
}
