using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace K3sFast.Supervisor;

/// <summary>A password as k3s keeps it: <c>$1:&lt;salt, hex&gt;:&lt;log2 N&gt;:&lt;r&gt;:&lt;p&gt;:&lt;scrypt key, base64 without padding&gt;</c>.</summary>
internal static class PasswordHash
{
    private const int LogN = 15, R = 8, P = 1, KeyBytes = 64, SaltBytes = 8;
    // More than k3s ever wrote would be a way to make us work for minutes.
    private const int MaxLogN = 17, MaxKeyBytes = 128;

    public static string Make(string password)
    {
        var salt = RandomNumberGenerator.GetBytes(SaltBytes);
        var key = Scrypt.Derive(Encoding.UTF8.GetBytes(password), salt, 1 << LogN, R, P, KeyBytes);
        return string.Create(CultureInfo.InvariantCulture, $"$1:{Convert.ToHexStringLower(salt)}:{LogN}:{R}:{P}:{Convert.ToBase64String(key).TrimEnd('=')}");
    }

    /// <summary>True when the password made the hash; null when the hash cannot be read.</summary>
    public static bool? Matches(string hash, string password)
    {
        var parts = hash.Trim().Split(':');
        if (parts is not ["$1", var saltText, var nText, var rText, var pText, var keyText]
            || !int.TryParse(nText, out var logN) || logN is < 1 or > MaxLogN
            || !int.TryParse(rText, out var r) || r is < 1 or > R || !int.TryParse(pText, out var p) || p is < 1 or > 4)
            return null;
        try
        {
            var key = Convert.FromBase64String(keyText.PadRight((keyText.Length + 3) / 4 * 4, '='));
            if (key.Length is 0 or > MaxKeyBytes)
                return null;
            var made = Scrypt.Derive(Encoding.UTF8.GetBytes(password), Convert.FromHexString(saltText), 1 << logN, r, p, key.Length);
            return CryptographicOperations.FixedTimeEquals(key, made);
        }
        catch (FormatException)
        {
            return null;
        }
    }
}
