using System.Security.Cryptography;
using K3sFast.Configuration;
using K3sFast.Pki;

namespace K3sFast.Agent;

/// <summary>The password that a node makes for itself when it first starts, and shows whenever it asks for certificates.</summary>
internal static class NodePasswordFile
{
    /// <exception cref="ConfigurationException">It cannot be read or written.</exception>
    public static string Ensure(NodePaths paths)
    {
        var path = paths.NodePassword;
        try
        {
            if (!PemFiles.IsMissing(path))
                return File.ReadAllText(path).Trim();
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            var password = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
            PemFiles.WriteWhole(path, password + "\n", UnixFileMode.UserRead | UnixFileMode.UserWrite);
            return password;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"failed to keep the node's password in {path}: {e.Message}", e);
        }
    }
}
