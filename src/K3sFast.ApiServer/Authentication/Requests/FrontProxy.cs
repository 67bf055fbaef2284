using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Http;

namespace K3sFast.ApiServer;

/// <summary>The headers by which a front proxy tells whom it speaks for, and which proxies are believed.</summary>
public sealed record RequestHeaderOptions
{
    /// <summary>The CAs of front proxies.</summary>
    public required X509Certificate2Collection Authorities { get; init; }

    /// <summary>The file that they are read from again when it changes; "" = they stay as they are.</summary>
    public string AuthoritiesFile { get; init; } = "";

    /// <summary>Common names that a proxy's certificate may have; empty = any.</summary>
    public IReadOnlyList<string> AllowedNames { get; init; } = ["system:auth-proxy"];

    /// <summary>The first of these that is there is the user's name.</summary>
    public IReadOnlyList<string> UsernameHeaders { get; init; } = ["X-Remote-User"];

    /// <summary>The first of these that is there is the user's uid.</summary>
    public IReadOnlyList<string> UidHeaders { get; init; } = ["X-Remote-Uid"];

    /// <summary>All values of all of these are groups.</summary>
    public IReadOnlyList<string> GroupHeaders { get; init; } = ["X-Remote-Group"];

    /// <summary>Headers that begin so are extra attributes.</summary>
    public IReadOnlyList<string> ExtraHeaderPrefixes { get; init; } = ["X-Remote-Extra-"];
}

/// <summary>Requests of an authenticating proxy: its own certificate proves it, headers name the user.</summary>
internal sealed class FrontProxy(RequestHeaderOptions options, ClientChain chain)
{
    /// <summary>The user that a proxy speaks for; null when the request comes from no such proxy or names nobody.</summary>
    internal UserInfo? Authenticate(HttpApiCall call)
    {
        var headers = call.RequestHeaders;
        // The name is looked for first: it costs less than a chain, and hardly any request has one.
        var name = First(headers, options.UsernameHeaders);
        if (name.Length == 0 || call.ClientCertificate is not { } certificate || !chain.IsTrusted(certificate))
            return null;
        if (options.AllowedNames.Count > 0 && !options.AllowedNames.Contains(ClientCertificates.CommonNameOf(certificate)))
            return null;
        var groups = new List<string>();
        foreach (var header in options.GroupHeaders)
            groups.AddRange(headers[header].Where(static value => !string.IsNullOrEmpty(value))!);
        return new UserInfo(name, groups, First(headers, options.UidHeaders), Extra(headers)).AsAuthenticated();
    }

    private static string First(IHeaderDictionary headers, IReadOnlyList<string> names)
    {
        for (var i = 0; i < names.Count; i++)
        {
            if (headers.TryGetValue(names[i], out var values) && values.Count > 0 && !string.IsNullOrEmpty(values[0]))
                return values[0]!;
        }
        return "";
    }

    private Dictionary<string, string[]> Extra(IHeaderDictionary headers)
    {
        var extra = new Dictionary<string, string[]>();
        foreach (var prefix in options.ExtraHeaderPrefixes)
        {
            foreach (var header in headers)
            {
                if (!header.Key.StartsWith(prefix, StringComparison.OrdinalIgnoreCase))
                    continue;
                var key = Uri.UnescapeDataString(header.Key[prefix.Length..].ToLowerInvariant());
                extra[key] = [.. extra.GetValueOrDefault(key, []), .. header.Value.Select(static value => value ?? "")];
            }
        }
        return extra;
    }
}
