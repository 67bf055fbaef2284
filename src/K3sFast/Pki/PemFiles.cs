using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.Configuration;
using K3sFast.Datastore;

namespace K3sFast.Pki;

/// <summary>Reads and writes PEM files. Private keys are 0600 from the first byte on, and files appear whole or not at all.</summary>
internal static class PemFiles
{
    private const UnixFileMode KeyMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode CertificateMode = KeyMode | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    public static void WriteKey(string path, string pem) => WriteWhole(path, pem, KeyMode);

    public static void WriteCertificates(string path, string pem) => WriteWhole(path, pem, CertificateMode);

    /// <summary>Writes beside <paramref name="path"/>, then renames over it. A file that says this already is left alone.</summary>
    public static void WriteWhole(string path, string text, UnixFileMode mode)
    {
        if (IsThere(path, text, mode))
            return;
        var temporary = path + ".new";
        File.Delete(temporary);
        using (var stream = new FileStream(temporary, new FileStreamOptions { Mode = System.IO.FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = mode }))
        {
            stream.Write(Encoding.UTF8.GetBytes(text));
            FileFlush.Flush(stream.SafeFileHandle);
        }
        File.SetUnixFileMode(temporary, mode);
        File.Move(temporary, path, overwrite: true);
    }

    /// <summary>All certificates of a file in file order.</summary>
    /// <exception cref="ConfigurationException">Unreadable, or no certificate inside.</exception>
    public static X509Certificate2Collection ReadCertificates(string path)
    {
        var certificates = new X509Certificate2Collection();
        try
        {
            certificates.ImportFromPem(File.ReadAllText(path));
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw Corrupt(path, "a PEM certificate", e);
        }
        return certificates.Count > 0 ? certificates : throw Corrupt(path, "a PEM certificate", null);
    }

    /// <summary>The only private key of a file, RSA or EC.</summary>
    /// <exception cref="ConfigurationException">Unreadable, or no such key inside.</exception>
    public static AsymmetricAlgorithm ReadKey(string path)
    {
        try
        {
            return ParseKey(File.ReadAllText(path), path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Corrupt(path, "a PEM private key", e);
        }
    }

    /// <summary>A private key in PEM, RSA or EC; <paramref name="path"/> is for the message.</summary>
    /// <exception cref="ConfigurationException">No such key inside.</exception>
    public static AsymmetricAlgorithm ParseKey(string pem, string path)
    {
        try
        {
            return pem.Contains("RSA PRIVATE KEY", StringComparison.Ordinal) ? ReadRsa(pem) : ReadEcOrRsa(pem);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw Corrupt(path, "a PEM private key", e);
        }
    }

    /// <summary>All private keys of a file in file order: for service-account tokens the first signs, all verify, which is how a key is rotated.</summary>
    /// <exception cref="ConfigurationException">Unreadable, or none inside.</exception>
    public static List<AsymmetricAlgorithm> ReadKeys(string path)
    {
        const string End = "-----END ";
        var keys = new List<AsymmetricAlgorithm>();
        var rest = File.ReadAllText(path);
        while (rest.IndexOf(End, StringComparison.Ordinal) is >= 0 and var end)
        {
            var stop = rest.IndexOf("-----", end + End.Length, StringComparison.Ordinal);
            keys.Add(ParseKey(stop < 0 ? rest : rest[..(stop + 5)], path));
            rest = stop < 0 ? "" : rest[(stop + 5)..];
        }
        return keys.Count > 0 ? keys : throw Corrupt(path, "a PEM private key", null);
    }

    public static bool IsMissing(string path) => !File.Exists(path) || new FileInfo(path).Length == 0;

    private static bool IsThere(string path, string text, UnixFileMode mode)
    {
        if (new FileInfo(path) is not { Exists: true, LinkTarget: null } file || file.UnixFileMode != mode || file.Length != Encoding.UTF8.GetByteCount(text))
            return false;
        try
        {
            return File.ReadAllText(path) == text;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static AsymmetricAlgorithm ReadEcOrRsa(string pem)
    {
        var key = ECDsa.Create();
        try
        {
            key.ImportFromPem(pem);
            return key;
        }
        catch (CryptographicException)
        {
            key.Dispose();
            return ReadRsa(pem);
        }
    }

    private static RSA ReadRsa(string pem)
    {
        var key = RSA.Create();
        key.ImportFromPem(pem);
        return key;
    }

    private static ConfigurationException Corrupt(string path, string expected, Exception? e) =>
        new($"{path} is not {expected}{(e is null ? "" : $" ({e.Message.TrimEnd('.')})")}: restore it from a backup, or remove it together with its pair to have it made anew", e);
}
