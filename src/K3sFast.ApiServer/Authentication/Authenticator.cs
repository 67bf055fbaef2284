using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Credentials to users: client certificate first, then bearer token. Nobody is anonymous.</summary>
internal sealed class Authenticator(ClientCertificates certificates, TokenAuthenticator tokens)
{
    /// <summary>The user, or null when no credential is good.</summary>
    internal UserInfo? Authenticate(HttpApiCall call)
    {
        if (call.ClientCertificate is { } certificate && certificates.Authenticate(certificate) is { } user)
            return user;
        const string Scheme = "Bearer ";
        var header = call.Authorization.AsSpan().Trim();
        if (!header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
            return null;
        return tokens.Authenticate(header[Scheme.Length..].Trim(), null, out _);
    }
}

/// <summary>Impersonate-* headers: a user who may impersonate acts as the one he names.</summary>
internal sealed class Impersonation(Authorizer authorizer)
{
    internal void Apply(HttpApiCall call)
    {
        var headers = call.RequestHeaders;
        var name = headers["Impersonate-User"].ToString();
        var uid = headers["Impersonate-Uid"].ToString();
        var groups = headers["Impersonate-Group"];
        var extra = ExtraOf(call);
        if (name.Length == 0)
        {
            if (groups.Count > 0 || uid.Length > 0 || extra.Count > 0)
                throw ApiStatus.InternalError("requested [] without impersonating a user").ToException();
            return;
        }
        var wantedGroups = new List<string>();
        if (TryServiceAccount(name, out var ns, out var account))
            Demand(call.User, "", "serviceaccounts", "", ns, account);
        else
            Demand(call.User, "", "users", "", "", name);
        foreach (var group in groups)
        {
            if (string.IsNullOrEmpty(group))
                continue;
            Demand(call.User, "", "groups", "", "", group);
            wantedGroups.Add(group);
        }
        foreach (var (key, values) in extra)
        {
            foreach (var value in values)
                Demand(call.User, "authentication.k8s.io", "userextras", key, "", value);
        }
        if (uid.Length > 0)
            Demand(call.User, "authentication.k8s.io", "uids", "", "", uid);
        if (wantedGroups.Count == 0 && account.Length > 0)
            wantedGroups.AddRange(["system:serviceaccounts", $"system:serviceaccounts:{ns}"]);
        if (name == "system:anonymous")
        {
            if (!wantedGroups.Contains("system:unauthenticated"))
                wantedGroups.Add("system:unauthenticated");
        }
        else if (!wantedGroups.Contains(UserInfo.AuthenticatedGroup))
        {
            wantedGroups.Add(UserInfo.AuthenticatedGroup);
        }
        call.Impersonator = call.User;
        call.User = new UserInfo(name, wantedGroups, uid, extra);
    }

    private void Demand(UserInfo user, string group, string resource, string subresource, string ns, string name) =>
        authorizer.Demand(new AuthorizationAttributes
        {
            User = user,
            Verb = "impersonate"u8,
            IsResourceRequest = true,
            Group = System.Text.Encoding.UTF8.GetBytes(group),
            Resource = System.Text.Encoding.UTF8.GetBytes(resource),
            Subresource = System.Text.Encoding.UTF8.GetBytes(subresource),
            Namespace = System.Text.Encoding.UTF8.GetBytes(ns),
            Name = System.Text.Encoding.UTF8.GetBytes(name),
        });

    private static Dictionary<string, string[]> ExtraOf(HttpApiCall call)
    {
        const string Prefix = "Impersonate-Extra-";
        var extra = new Dictionary<string, string[]>();
        foreach (var header in call.RequestHeaders)
        {
            if (header.Key.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase))
                extra[Uri.UnescapeDataString(header.Key[Prefix.Length..]).ToLowerInvariant()] = [.. header.Value.Select(static v => v ?? "")];
        }
        return extra;
    }

    private static bool TryServiceAccount(string name, out string ns, out string account)
    {
        ns = account = "";
        var parts = name.Split(':');
        if (parts is not ["system", "serviceaccount", { Length: > 0 } first, { Length: > 0 } second])
            return false;
        (ns, account) = (first, second);
        return true;
    }
}
