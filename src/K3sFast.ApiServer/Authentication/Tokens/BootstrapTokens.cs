using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Bootstrap tokens: <c>id.secret</c> (6 and 16 of a-z0-9), each a Secret <c>bootstrap-token-&lt;id&gt;</c> of kube-system with an optional expiry, the usage
/// "authentication" and extra groups. Any doubt is "not mine".
/// </summary>
internal sealed partial class BootstrapTokens(ResourceStorage secrets, TimeProvider clock) : ITokenAuthenticator
{
    private const string DefaultGroup = "system:bootstrappers";

    public ValueTask<TokenVerdict> AuthenticateAsync(TokenQuestion question) => new(new TokenVerdict(Find(question.Token)));

    private UserInfo? Find(string token)
    {
        if (token.Length != 6 + 1 + 16 || !TokenForm().IsMatch(token))
            return null;
        string id = token[..6], secret = token[7..];
        using var stored = secrets.Get("kube-system", "bootstrap-token-" + id);
        if (stored is null)
            return null;
        using var document = secrets.Decode(stored);
        var data = document.Root["data"u8];
        if (ObjectText.IsDeleting(document.Root) || !document.Root["type"u8].Equals("bootstrap.kubernetes.io/token"u8) || data.IsNullOrUndefined)
            return null;
        if (!CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(Value(data["token-secret"u8])), Encoding.UTF8.GetBytes(secret))
            || Value(data["token-id"u8]) != id || HasExpired(Value(data["expiration"u8])) || Value(data["usage-bootstrap-authentication"u8]) != "true")
            return null;
        return GroupsOf(Value(data["auth-extra-groups"u8])) is { } groups ? new UserInfo("system:bootstrap:" + id, groups) : null;
    }

    private bool HasExpired(string expiration) =>
        expiration.Length > 0
        && (!DateTimeOffset.TryParseExact(expiration, ["yyyy-MM-dd'T'HH:mm:ssK", "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK"], CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            || time <= clock.GetUtcNow());

    // Null when one of the groups may not be given by a token.
    private static List<string>? GroupsOf(string extra)
    {
        var groups = new SortedSet<string>(StringComparer.Ordinal) { DefaultGroup };
        if (extra.Length > 0)
        {
            foreach (var group in extra.Split(','))
            {
                if (!GroupForm().IsMatch(group))
                    return null;
                groups.Add(group);
            }
        }
        return [.. groups];
    }

    private static string Value(ApiNode base64)
    {
        Span<byte> bytes = stackalloc byte[512];
        return Convert.TryFromBase64String(base64.AsString(), bytes, out var length) ? Encoding.UTF8.GetString(bytes[..length]) : "";
    }

    [GeneratedRegex(@"\A[a-z0-9]{6}\.[a-z0-9]{16}\z")]
    private static partial Regex TokenForm();

    [GeneratedRegex(@"\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z")]
    private static partial Regex GroupForm();
}
