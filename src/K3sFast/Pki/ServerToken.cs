using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using K3sFast.Configuration;
using K3sFast.Supervisor;

namespace K3sFast.Pki;

/// <summary>The join secret: <c>K10&lt;sha-256 of the server CA, 64 hex&gt;::server:&lt;secret&gt;</c>.</summary>
internal static class ServerToken
{
    private const string Prefix = "K10";

    /// <summary>Settles the secrets from flags, files or chance, and writes server/token, node-token, agent-token and cred/passwd.</summary>
    /// <exception cref="ConfigurationException">The token's CA hash is not ours, or its form is wrong.</exception>
    public static JoinSecrets Ensure(NodePaths paths, string given, string givenForAgents, CertificateAuthority serverCa)
    {
        var hash = HashOf(serverCa);
        var secret = given.Length > 0 ? SecretOf(given, hash) : ReadSecret(paths.Token) ?? Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
        const UnixFileMode Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        PemFiles.WriteWhole(paths.Token, $"{Prefix}{hash}::server:{secret}\n", Mode);
        Link(paths.NodeToken, paths.Token);
        var agentSecret = givenForAgents.Length > 0 ? SecretOf(givenForAgents, hash) : secret;
        if (agentSecret == secret)
            Link(paths.AgentToken, paths.Token);
        else
            PemFiles.WriteWhole(paths.AgentToken, $"{Prefix}{hash}::node:{agentSecret}\n", Mode);
        PemFiles.WriteWhole(Path.Combine(paths.Cred, "passwd"), $"{secret},server,server,k3s:server\n{agentSecret},node,node,k3s:agent\n", Mode);
        return new(secret, agentSecret);
    }

    /// <summary>
    /// The secret before there are certificates: from flag or file, else made and kept. What a token says of the CA is looked at when there is one.
    /// </summary>
    public static string Settle(NodePaths paths, string given)
    {
        if (given.Length > 0)
            return given.LastIndexOf(':') is >= 0 and var colon && given.StartsWith(Prefix, StringComparison.Ordinal) ? given[(colon + 1)..] : given;
        if (ReadSecret(paths.Token) is { } kept)
            return kept;
        var secret = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
        PemFiles.WriteWhole(paths.Token, secret + "\n", UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return secret;
    }

    /// <summary>SHA-256 of the PEM file when it holds one certificate, of the root's DER when it holds a chain.</summary>
    public static string HashOf(CertificateAuthority serverCa) => Convert.ToHexStringLower(SHA256.HashData(
        serverCa.Chain.Count == 1 ? File.ReadAllBytes(serverCa.CertificatePath) : serverCa.Chain[^1].RawData));

    private static void Link(string path, string target)
    {
        if (new FileInfo(path) is { LinkTarget: not null })
            return;
        File.Delete(path);
        File.CreateSymbolicLink(path, target);
    }

    private static string SecretOf(string token, string hash)
    {
        if (!token.StartsWith(Prefix, StringComparison.Ordinal))
            return token;
        // K10<64 hex>::<user>:<password>
        var separator = token.IndexOf("::", StringComparison.Ordinal);
        var colon = separator < 0 ? -1 : token.IndexOf(':', separator + 2);
        if (separator != Prefix.Length + 64 || colon < 0 || colon == token.Length - 1)
            throw new ConfigurationException("failed to normalize server token: a token is K10<hash>::server:<secret>, or the secret alone");
        if (token.AsSpan(Prefix.Length, 64) is var given && !given.SequenceEqual(hash))
            throw new ConfigurationException("failed to normalize server token: its CA hash does not match this server's CA; give the secret alone, or restore the CA files");
        return token[(colon + 1)..];
    }

    private static string? ReadSecret(string path)
    {
        if (PemFiles.IsMissing(path))
            return null;
        var text = File.ReadAllText(path).Trim();
        var separator = text.IndexOf("::", StringComparison.Ordinal);
        var colon = separator < 0 ? -1 : text.IndexOf(':', separator + 2);
        return colon > 0 ? text[(colon + 1)..] : text.Length > 0 ? text : null;
    }
}
