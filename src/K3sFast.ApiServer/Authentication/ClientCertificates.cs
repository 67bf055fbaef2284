using System.Runtime.CompilerServices;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.ApiServer;

/// <summary>
/// Client certificates to users: the chain must end at a client CA, be in time and be good for client authentication; then the common name is
/// the user and each organization a group. The verdict is kept with the connection's certificate, so that a connection pays once.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class ClientCertificates(X509Certificate2Collection authorities, TimeProvider clock)
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    private readonly ConditionalWeakTable<X509Certificate2, Verdict> _verdicts = [];

    /// <summary>The certificate's user; null when it does not chain to a client CA or is out of time.</summary>
    internal UserInfo? Authenticate(X509Certificate2 certificate)
    {
        if (!_verdicts.TryGetValue(certificate, out var verdict))
            verdict = _verdicts.GetValue(certificate, Judge);
        // A connection may outlive its certificate.
        return verdict.User is not null && clock.GetUtcNow() <= verdict.NotAfter ? verdict.User : null;
    }

    private Verdict Judge(X509Certificate2 certificate)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = clock.GetUtcNow().UtcDateTime;
        chain.ChainPolicy.VerificationTimeIgnored = false;
        chain.ChainPolicy.ApplicationPolicy.Add(new System.Security.Cryptography.Oid(ClientAuthentication));
        var user = chain.Build(certificate) ? UserOf(certificate) : null;
        return new Verdict(user, certificate.NotAfter.ToUniversalTime());
    }

    private static UserInfo? UserOf(X509Certificate2 certificate)
    {
        var name = "";
        var groups = new List<string>();
        foreach (var part in certificate.SubjectName.EnumerateRelativeDistinguishedNames(reversed: false))
        {
            if (part.HasMultipleElements)
                continue;
            switch (part.GetSingleElementType().Value)
            {
                case "2.5.4.3":
                    name = part.GetSingleElementValue() ?? "";
                    break;
                case "2.5.4.10" when part.GetSingleElementValue() is { Length: > 0 } organization:
                    groups.Add(organization);
                    break;
            }
        }
        if (name.Length == 0)
            return null;
        groups.Add(UserInfo.AuthenticatedGroup);
        return new UserInfo(name, groups);
    }

    private sealed record Verdict(UserInfo? User, DateTimeOffset NotAfter);
}
