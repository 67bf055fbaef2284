using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using K3sFast.Configuration;
using K3sFast.Pki;

namespace K3sFast.Server;

/// <summary>The keys of service-account tokens: one signs, all verify. By default both are k3s's own.</summary>
internal static class ServiceAccountKeyFiles
{
    /// <summary>The signing key first. Keys to verify with may be private or public keys or certificates, several in one file.</summary>
    /// <exception cref="ConfigurationException">A file cannot be read, or holds no key.</exception>
    public static IReadOnlyList<AsymmetricAlgorithm> Read(ComponentArguments arguments, IReadOnlyList<AsymmetricAlgorithm> own)
    {
        var signing = arguments.Text("service-account-signing-key-file");
        var files = arguments.Many("service-account-key-file", splits: false);
        if (signing.Length == 0 && files.Count == 0)
            return own;
        var keys = new List<AsymmetricAlgorithm> { signing.Length > 0 ? PemFiles.ReadKey(signing) : own[0] };
        if (files.Count == 0)
            keys.AddRange(own);
        foreach (var file in files)
            keys.AddRange(ReadAll(file));
        // The same key in two files is one.
        return [.. keys.DistinctBy(static key => Convert.ToBase64String(key.ExportSubjectPublicKeyInfo()))];
    }

    private static List<AsymmetricAlgorithm> ReadAll(string path)
    {
        try
        {
            var text = File.ReadAllText(path);
            var keys = new List<AsymmetricAlgorithm>();
            for (var rest = text.AsSpan(); PemEncoding.TryFind(rest, out var block); rest = rest[block.Location.End..])
            {
                if (KeyOf(rest[block.Label].ToString(), rest[block.Location].ToString(), path) is { } key)
                    keys.Add(key);
            }
            return keys.Count > 0 ? keys : throw new ConfigurationException($"failed to parse service-account-key-file {path}: data does not contain any valid RSA or ECDSA public keys");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new ConfigurationException($"failed to parse service-account-key-file {path}: {error.Message}", error);
        }
    }

    private static AsymmetricAlgorithm? KeyOf(string label, string pem, string path)
    {
        switch (label)
        {
            case "CERTIFICATE":
                using (var certificate = X509Certificate2.CreateFromPem(pem))
                    return (AsymmetricAlgorithm?)certificate.GetRSAPublicKey() ?? certificate.GetECDsaPublicKey();
            case "PUBLIC KEY" or "RSA PUBLIC KEY":
                return Public(pem);
            case "RSA PRIVATE KEY" or "EC PRIVATE KEY" or "PRIVATE KEY":
                return PemFiles.ParseKey(pem, path);
            default:
                return null;
        }
    }

    private static AsymmetricAlgorithm Public(string pem)
    {
        var rsa = RSA.Create();
        try
        {
            rsa.ImportFromPem(pem);
            return rsa;
        }
        catch (Exception error) when (error is CryptographicException or ArgumentException)
        {
            rsa.Dispose();
            var curve = ECDsa.Create();
            curve.ImportFromPem(pem);
            return curve;
        }
    }
}
