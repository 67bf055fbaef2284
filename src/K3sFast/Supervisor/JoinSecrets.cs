using System.Security.Cryptography;
using System.Text;
using K3sFast.ApiServer;

namespace K3sFast.Supervisor;

/// <summary>Who asks the supervisor.</summary>
/// <param name="Name">For the log.</param>
/// <param name="NodeName">The node that he proves to be; null when he merely has a token.</param>
internal sealed record Asker(string Name, string? NodeName);

/// <summary>The secrets that let nodes join. Immutable; any thread.</summary>
/// <param name="server">The secret of servers; good for agents as well.</param>
/// <param name="agent">The secret of agents.</param>
internal sealed class JoinSecrets(string server, string agent)
{
    private const string NodePrefix = "system:node:";

    private readonly byte[] _server = Encoding.UTF8.GetBytes(server);
    private readonly byte[] _agent = Encoding.UTF8.GetBytes(agent);

    /// <summary>Who may ask what agents may; null = nobody.</summary>
    public Asker? Identify(SupervisorRequest request)
    {
        // A certificate or a bootstrap token was looked at already.
        if (request.User is { } user)
        {
            var isNode = user.Name.StartsWith(NodePrefix, StringComparison.Ordinal) && user.Groups.Contains("system:nodes");
            if (isNode)
                return new(user.Name, user.Name[NodePrefix.Length..]);
            if (user.IsMaster || user.Groups.Contains("system:bootstrappers"))
                return new(user.Name, null);
        }
        const string Basic = "Basic ";
        if (request.Authorization is not { } header || !header.StartsWith(Basic, StringComparison.Ordinal))
            return null;
        Span<byte> bytes = stackalloc byte[512];
        if (!Convert.TryFromBase64Chars(header.AsSpan(Basic.Length).Trim(), bytes, out var length))
            return null;
        var pair = bytes[..length];
        var colon = pair.IndexOf((byte)':');
        if (colon < 0)
            return null;
        var password = pair[(colon + 1)..];
        return Encoding.UTF8.GetString(pair[..colon]) switch
        {
            "node" when Equal(password, _agent) || Equal(password, _server) => new("node", null),
            "server" when Equal(password, _server) => new("server", null),
            // A token without a user name.
            "" when Equal(password, _agent) || Equal(password, _server) => new("node", null),
            _ => null,
        };
    }

    private static bool Equal(ReadOnlySpan<byte> given, ReadOnlySpan<byte> wanted) => wanted.Length > 0 && CryptographicOperations.FixedTimeEquals(given, wanted);
}
