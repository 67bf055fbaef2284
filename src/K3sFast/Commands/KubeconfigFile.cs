using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.Client;
using K3sFast.Configuration;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace K3sFast.Commands;

/// <summary>Reads a kubeconfig of one cluster and one user with certificates, as k3s writes them, for commands that speak to the API.</summary>
internal static class KubeconfigFile
{
    /// <summary>A transport with what the file says, and the CA's PEM.</summary>
    /// <exception cref="ConfigurationException">The file is not there, or lacks something.</exception>
    public static (HttpApiTransport Transport, byte[] CaPem) Open(string path)
    {
        var values = ReadScalars(path);
        byte[] Material(string name) => values.GetValueOrDefault(name + "-data") is { } data ? Convert.FromBase64String(data)
            : values.GetValueOrDefault(name) is { } file ? File.ReadAllBytes(Path.GetFullPath(file, Path.GetDirectoryName(Path.GetFullPath(path))!))
            : throw new ConfigurationException($"{path} has no {name}");
        try
        {
            var authorities = new X509Certificate2Collection();
            var pem = Material("certificate-authority");
            authorities.ImportFromPem(Encoding.UTF8.GetString(pem));
            var client = X509Certificate2.CreateFromPem(Encoding.UTF8.GetString(Material("client-certificate")), Encoding.UTF8.GetString(Material("client-key")));
            var server = values.GetValueOrDefault("server") ?? throw new ConfigurationException($"{path} has no server");
            return (new HttpApiTransport(new Uri(server), authorities, client), pem);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException or FormatException)
        {
            throw new ConfigurationException($"{path} cannot be used: {e.Message}", e);
        }
    }

    // The names are unique in such a file, wherever they stand.
    private static Dictionary<string, string> ReadScalars(string path)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        try
        {
            using var reader = new StreamReader(path);
            var parser = new Parser(reader);
            string? key = null;
            while (parser.MoveNext())
            {
                if (parser.Current is not Scalar scalar)
                    key = null;
                else if (key is null)
                    key = scalar.Value;
                else
                {
                    values.TryAdd(key, scalar.Value);
                    key = null;
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or YamlException)
        {
            throw new ConfigurationException($"failed to read kubeconfig {path}: {e.Message}; give --kubeconfig, or run this on a server", e);
        }
        return values;
    }
}
