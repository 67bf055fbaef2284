using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Who is let in without credentials.</summary>
/// <param name="IsEnabled">Whether anybody is.</param>
/// <param name="Paths">Where; empty = everywhere.</param>
public sealed record AnonymousAccess(bool IsEnabled, IReadOnlySet<string> Paths)
{
    /// <summary>Nobody.</summary>
    public static AnonymousAccess Off { get; } = new(false, new HashSet<string>());

    /// <summary>Everybody, everywhere; what they may do is RBAC's to say.</summary>
    public static AnonymousAccess On { get; } = new(true, new HashSet<string>());

    /// <summary>Same switch, same paths.</summary>
    public bool Equals(AnonymousAccess? other) => other is not null && IsEnabled == other.IsEnabled && Paths.SetEquals(other.Paths);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(IsEnabled, Paths.Count);
}

/// <summary>The file of --authentication-config: issuers of tokens, and anonymous access. Read strictly and judged by upstream's rules.</summary>
/// <param name="Issuers">In the file's order.</param>
/// <param name="Anonymous">Null when the file says nothing about it.</param>
internal sealed record AuthenticationConfiguration(IReadOnlyList<JwtIssuer> Issuers, AnonymousAccess? Anonymous)
{
    internal const string Flag = "authentication-config";

    private const int MaxIssuers = 64;

    /// <exception cref="ApiServerStartException">The file is no such configuration, or says what cannot be.</exception>
    internal static AuthenticationConfiguration Read(string path, byte[] bytes, IReadOnlyList<string> disallowedIssuers)
    {
        var errors = new FieldErrorList();
        var configuration = ConfigDocument.Read(
            Flag, path, bytes, "AuthenticationConfiguration", ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"], root => Read(root, errors));
        Validate(configuration, disallowedIssuers, errors);
        if (errors.Count > 0)
            throw new ApiServerStartException($"--{Flag}: {path}: invalid authentication configuration: {errors}");
        return configuration;
    }

    /// <summary>The rules that hold for issuers wherever they were configured.</summary>
    internal static void Validate(AuthenticationConfiguration configuration, IReadOnlyList<string> disallowedIssuers, FieldErrorList errors)
    {
        if (configuration.Issuers.Count > MaxIssuers)
            errors.TooMany("jwt", configuration.Issuers.Count, MaxIssuers);
        HashSet<string> urls = [], discoveryUrls = [];
        for (var i = 0; i < configuration.Issuers.Count; i++)
        {
            var issuer = configuration.Issuers[i];
            var path = $"jwt[{i}].issuer";
            if (issuer.Url.Length == 0)
                errors.Required($"{path}.url");
            else
                ValidateUrl(issuer.Url, $"{path}.url", disallowedIssuers, errors);
            if (issuer.DiscoveryUrl.Length > 0)
            {
                if (issuer.Url.Length > 0 && issuer.Url.TrimEnd('/') == issuer.DiscoveryUrl.TrimEnd('/'))
                    errors.Invalid($"{path}.discoveryURL", issuer.DiscoveryUrl, "discoveryURL must be different from URL");
                ValidateUrl(issuer.DiscoveryUrl, $"{path}.discoveryURL", [], errors);
            }
            ValidateAudiences(issuer.Audiences, $"{path}.audiences", errors);
            if (!urls.Add(issuer.Url))
                errors.Duplicate($"{path}.url", issuer.Url);
            if (issuer.DiscoveryUrl.Length > 0 && !discoveryUrls.Add(issuer.DiscoveryUrl))
                errors.Duplicate($"{path}.discoveryURL", issuer.DiscoveryUrl);
        }
        if (configuration.Anonymous is { IsEnabled: false, Paths.Count: > 0 } anonymous)
            errors.Invalid("anonymous.conditions", string.Join(",", anonymous.Paths), "enabled should be set to true when conditions are defined");
    }

    private static AuthenticationConfiguration Read(ConfigNode root, FieldErrorList errors)
    {
        var issuers = new List<JwtIssuer>();
        foreach (var item in root.Objects("jwt"))
            issuers.Add(ReadIssuer(item, errors));
        AnonymousAccess? anonymous = null;
        if (root.Has("anonymous"))
        {
            var section = root.Object("anonymous");
            var paths = new HashSet<string>();
            foreach (var condition in section.Objects("conditions"))
            {
                paths.Add(condition.Text("path"));
                condition.Close();
            }
            anonymous = new AnonymousAccess(section.Bool("enabled"), paths);
            section.Close();
        }
        return new AuthenticationConfiguration(issuers, anonymous);
    }

    private static JwtIssuer ReadIssuer(ConfigNode item, FieldErrorList errors)
    {
        var issuer = item.Object("issuer");
        var mappings = new JwtMappingReader(errors);
        var read = new JwtIssuer
        {
            Url = issuer.Text("url"),
            DiscoveryUrl = issuer.Text("discoveryURL"),
            Authorities = ReadAuthorities(issuer, errors),
            Audiences = issuer.Texts("audiences"),
            UsernameClaim = "",
        };
        read = mappings.Read(item, read);
        CheckMatchPolicy(issuer, read.Audiences.Count, errors);
        if (issuer.Text("egressSelectorType") is { Length: > 0 } egress)
            errors.Invalid(issuer.PathOf("egressSelectorType"), egress, "egress selectors are not served");
        issuer.Close();
        item.Close();
        return read;
    }

    private static X509Certificate2Collection? ReadAuthorities(ConfigNode issuer, FieldErrorList errors)
    {
        if (issuer.Text("certificateAuthority") is not { Length: > 0 } pem)
            return null;
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPem(pem);
        }
        catch (Exception error) when (error is CryptographicException or ArgumentException)
        {
            // Said below.
        }
        if (authorities.Count == 0)
            errors.Invalid(issuer.PathOf("certificateAuthority"), "<omitted>", "data does not contain any valid RSA or ECDSA certificates");
        return authorities;
    }

    private static void CheckMatchPolicy(ConfigNode issuer, int audiences, FieldErrorList errors)
    {
        var policy = issuer.Text("audienceMatchPolicy");
        if (audiences > 1 && policy != "MatchAny")
            errors.Invalid(issuer.PathOf("audienceMatchPolicy"), policy, "audienceMatchPolicy must be MatchAny for multiple audiences");
        if (audiences == 1 && policy.Length > 0 && policy != "MatchAny")
            errors.Invalid(issuer.PathOf("audienceMatchPolicy"), policy, "audienceMatchPolicy must be empty or MatchAny for single audience");
    }

    private static void ValidateAudiences(IReadOnlyList<string> audiences, string path, FieldErrorList errors)
    {
        if (audiences.Count == 0)
            errors.Required(path, $"at least one {path} is required");
        var seen = new HashSet<string>();
        for (var i = 0; i < audiences.Count; i++)
        {
            if (audiences[i].Length == 0)
                errors.Required($"{path}[{i}]");
            if (!seen.Add(audiences[i]))
                errors.Duplicate($"{path}[{i}]", audiences[i]);
        }
    }

    private static void ValidateUrl(string text, string path, IReadOnlyList<string> disallowed, FieldErrorList errors)
    {
        if (disallowed.Contains(text))
            errors.Invalid(path, text, $"URL must not overlap with disallowed issuers: [{string.Join(' ', disallowed.Order(StringComparer.Ordinal))}]");
        if (!Uri.TryCreate(text, UriKind.Absolute, out var url) || url.Scheme != "https")
        {
            errors.Invalid(path, text, "URL scheme must be https");
            return;
        }
        if (url.UserInfo.Length > 0)
            errors.Invalid(path, text, "URL must not contain a username or password");
        if (url.Query.Length > 0)
            errors.Invalid(path, text, "URL must not contain a query");
        if (url.Fragment.Length > 0)
            errors.Invalid(path, text, "URL must not contain a fragment");
    }
}
