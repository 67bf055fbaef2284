using System.Runtime.InteropServices;
using System.Text;
using K3sFast.Configuration;

namespace K3sFast.Pki;

/// <summary>Writes kubeconfig files in k3s's form: one cluster, context and user.</summary>
internal static class Kubeconfig
{
    /// <summary>The admin's file, with everything inside it; all three names are <c>default</c>.</summary>
    /// <exception cref="ConfigurationException">The file cannot be written, or the group does not exist.</exception>
    public static void WriteAdmin(ServerConfig config, CertificateAuthority serverCa, LeafCertificate admin)
    {
        try
        {
            var path = Path.GetFullPath(config.KubeconfigPath);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            PemFiles.WriteWhole(path, Inline(ServerUrl(config), serverCa.CertificatePath, admin), config.KubeconfigMode);
            if (config.KubeconfigGroup.Length > 0)
                ChangeGroup(path, config.KubeconfigGroup);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"failed to write kubeconfig {config.KubeconfigPath}: {e.Message}; choose another --write-kubeconfig", e);
        }
    }

    /// <summary>A component's file: names its certificate files instead of carrying them.</summary>
    public static void WriteComponent(string path, string serverUrl, string caPath, string certificatePath, string keyPath) => PemFiles.WriteWhole(path, $"""
        apiVersion: v1
        clusters:
        - cluster:
            server: {serverUrl}
            certificate-authority: {caPath}
          name: local
        contexts:
        - context:
            cluster: local
            namespace: default
            user: user
          name: Default
        current-context: Default
        kind: Config
        preferences: {"{}"}
        users:
        - name: user
          user:
            client-certificate: {certificatePath}
            client-key: {keyPath}

        """, UnixFileMode.UserRead | UnixFileMode.UserWrite);

    public static string ServerUrl(ServerConfig config) => $"https://127.0.0.1:{config.HttpsPort}";

    private static string Inline(string serverUrl, string caPath, LeafCertificate client) => $"""
        apiVersion: v1
        clusters:
        - cluster:
            certificate-authority-data: {Data(caPath)}
            server: {serverUrl}
          name: default
        contexts:
        - context:
            cluster: default
            user: default
          name: default
        current-context: default
        kind: Config
        preferences: {"{}"}
        users:
        - name: default
          user:
            client-certificate-data: {Data(client.CertificatePath)}
            client-key-data: {Data(client.KeyPath)}

        """;

    private static string Data(string path) => Convert.ToBase64String(File.ReadAllBytes(path));

    private static void ChangeGroup(string path, string group)
    {
        if (!uint.TryParse(group, out var id))
        {
            id = uint.MaxValue;
            foreach (var line in File.ReadLines("/etc/group"))
            {
                var fields = line.Split(':');
                if (fields.Length > 2 && fields[0] == group)
                    id = uint.Parse(fields[2]);
            }
        }
        if (id == uint.MaxValue)
            throw new ConfigurationException($"group \"{group}\" of --write-kubeconfig-group does not exist");
        Interop.Processes.PosixFile.ChangeOwner(path, -1, (int)id);
    }
}
