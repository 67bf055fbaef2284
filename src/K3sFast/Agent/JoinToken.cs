using System.Text.RegularExpressions;
using K3sFast.Configuration;

namespace K3sFast.Agent;

/// <summary>
/// A join token in any of k3s' forms: <c>K10&lt;CA hash&gt;::&lt;user&gt;:&lt;password&gt;</c>, <c>K10&lt;CA hash&gt;::&lt;id&gt;.&lt;secret&gt;</c> of a bootstrap
/// token, or password or bootstrap token alone.
/// </summary>
/// <param name="CaHash">SHA-256 of the cluster's CA in 64 hex digits; empty: the token does not say.</param>
/// <param name="Password">The password; empty for a bootstrap token.</param>
/// <param name="Bootstrap">The bootstrap token; empty for a password.</param>
internal sealed partial record JoinToken(string CaHash, string Password, string Bootstrap)
{
    private const string Prefix = "K10";
    private const int HashLength = 64;

    // An agent asks as this user whatever user the token names, as in k3s: the server's own token lets agents join, and no more.
    private const string User = "node";

    /// <summary>The Authorization header that shows it.</summary>
    public string Authorization => Bootstrap.Length > 0
        ? "Bearer " + Bootstrap
        : "Basic " + Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"{User}:{Password}"));

    /// <exception cref="ConfigurationException">No token; the message says what one looks like.</exception>
    public static JoinToken Parse(string text)
    {
        var token = text.Trim();
        if (token.Length == 0)
            throw new ConfigurationException("token must not be empty");
        var hash = "";
        if (token.StartsWith(Prefix, StringComparison.Ordinal))
        {
            token = token[Prefix.Length..];
            var separator = token.IndexOf("::", StringComparison.Ordinal);
            if (separator >= 0)
            {
                hash = token[..separator];
                token = token[(separator + 2)..];
                if (hash.Length is not (0 or HashLength) || hash.AsSpan().ContainsAnyExcept("0123456789abcdefABCDEF"))
                    throw new ConfigurationException("invalid token CA hash length: a token is K10<64 hex digits>::<user>:<password>, as in server/node-token of a server; it may have been cut when it was copied");
            }
            if (BootstrapForm().IsMatch(token))
                return new(hash.ToLowerInvariant(), "", token);
            var colon = token.IndexOf(':');
            if (colon < 0 || colon == token.Length - 1)
                throw new ConfigurationException("invalid token format: a token is K10<64 hex digits>::<user>:<password>, as in server/node-token of a server, or the password alone");
            return new(hash.ToLowerInvariant(), token[(colon + 1)..], "");
        }
        return BootstrapForm().IsMatch(token) ? new("", "", token) : new("", token, "");
    }

    [GeneratedRegex(@"\A[a-z0-9]{6}\.[a-z0-9]{16}\z")]
    private static partial Regex BootstrapForm();
}
