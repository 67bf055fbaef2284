using System.Text;

namespace K3sFast.ApiServer;

/// <summary>Who asks: the user's name, uid, groups and extra attributes, as authentication found them. Immutable; shared by all requests of one credential.</summary>
public sealed class UserInfo
{
    /// <summary>The group of everybody who authenticated.</summary>
    public const string AuthenticatedGroup = "system:authenticated";

    /// <summary>The group that may do everything.</summary>
    public const string MastersGroup = "system:masters";

    /// <summary>The group of those who did not authenticate.</summary>
    public const string UnauthenticatedGroup = "system:unauthenticated";

    /// <summary>The name of those who did not authenticate.</summary>
    public const string AnonymousName = "system:anonymous";

    /// <summary>The extra that names the credential, for the audit log.</summary>
    internal const string CredentialIdKey = "authentication.kubernetes.io/credential-id";

    private static readonly Dictionary<string, string[]> s_noExtra = [];

    private byte[]? _identity;

    /// <summary>A user with these groups and extras.</summary>
    public UserInfo(string name, IReadOnlyList<string> groups, string uid = "", IReadOnlyDictionary<string, string[]>? extra = null)
    {
        Name = name;
        Uid = uid;
        Groups = groups;
        Extra = extra ?? s_noExtra;
        IsMaster = groups.Contains(MastersGroup);
    }

    /// <summary>The user's name, for example system:serviceaccount:kube-system:default.</summary>
    public string Name { get; }

    /// <summary>The user's uid; "" when the credential has none.</summary>
    public string Uid { get; }

    /// <summary>The groups, system:authenticated included.</summary>
    public IReadOnlyList<string> Groups { get; }

    /// <summary>Further attributes, for example the pod that a token is bound to.</summary>
    public IReadOnlyDictionary<string, string[]> Extra { get; }

    /// <summary>Member of system:masters: every authorizer is passed.</summary>
    public bool IsMaster { get; }

    /// <summary>Somebody without credentials, where such are let in.</summary>
    internal static UserInfo Anonymous { get; } = new(AnonymousName, [UnauthenticatedGroup]);

    /// <summary>Who has not said who he is: matches no name and no group.</summary>
    internal static UserInfo Nobody { get; } = new("", []);

    /// <summary>The administrator of in-process wiring and of the admin kubeconfig.</summary>
    public static UserInfo Admin { get; } = new("system:admin", [MastersGroup, AuthenticatedGroup]);

    /// <summary>The API server's own identity.</summary>
    public static UserInfo ApiServer { get; } = new("system:apiserver", [MastersGroup, AuthenticatedGroup]);

    /// <summary>A service account's identity, with its two groups.</summary>
    public static UserInfo ServiceAccount(string ns, string name, string uid = "", IReadOnlyDictionary<string, string[]>? extra = null) =>
        new($"system:serviceaccount:{ns}:{name}", ["system:serviceaccounts", $"system:serviceaccounts:{ns}", AuthenticatedGroup], uid, extra);

    /// <summary>A node's identity.</summary>
    public static UserInfo Node(string name) => new($"system:node:{name}", ["system:nodes", AuthenticatedGroup]);

    /// <summary>Name and groups as bytes that cannot be confused with another user's: the user's part of an authorization cache key.</summary>
    internal ReadOnlySpan<byte> Identity => _identity ??= Encoding.UTF8.GetBytes($"{Name}\0{string.Join('\0', Groups)}");

    /// <summary>
    /// The user as every other layer sees him: with system:authenticated, unless he is anonymous or an authenticator said already which of the two he is.
    /// </summary>
    internal UserInfo AsAuthenticated()
    {
        if (Name == AnonymousName)
            return this;
        for (var i = 0; i < Groups.Count; i++)
        {
            if (Groups[i] is AuthenticatedGroup or UnauthenticatedGroup)
                return this;
        }
        return new UserInfo(Name, [.. Groups, AuthenticatedGroup], Uid, Extra);
    }

    /// <inheritdoc/>
    public override string ToString() => Name;
}
