using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.ApiServer;

/// <summary>Judges whether a shown certificate chains to some CAs and may be used by a client. The verdict is kept with the certificate.</summary>
/// <remarks>Any thread.</remarks>
internal sealed class ClientChain(X509Certificate2Collection authorities, TimeProvider clock)
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    private static readonly ConditionalWeakTable<X509Certificate2, X509Certificate2Collection> s_intermediates = [];

    private readonly ConditionalWeakTable<X509Certificate2, Verdict> _verdicts = [];

    /// <summary>Keeps the certificates that a client showed along with its own; called while the handshake lasts.</summary>
    internal static void Remember(X509Certificate2 certificate, X509Chain? shown)
    {
        if (shown is not { ChainPolicy.ExtraStore.Count: > 0 })
            return;
        var intermediates = new X509Certificate2Collection();
        foreach (var other in shown.ChainPolicy.ExtraStore)
            intermediates.Add(X509CertificateLoader.LoadCertificate(other.RawData));
        s_intermediates.AddOrUpdate(certificate, intermediates);
    }

    internal bool IsTrusted(X509Certificate2 certificate)
    {
        if (!_verdicts.TryGetValue(certificate, out var verdict))
            verdict = _verdicts.GetValue(certificate, Judge);
        // A connection may outlive its certificate.
        return verdict.IsTrusted && clock.GetUtcNow() <= verdict.NotAfter;
    }

    private Verdict Judge(X509Certificate2 certificate)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
        if (s_intermediates.TryGetValue(certificate, out var intermediates))
            chain.ChainPolicy.ExtraStore.AddRange(intermediates);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = clock.GetUtcNow().UtcDateTime;
        chain.ChainPolicy.VerificationTimeIgnored = false;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ClientAuthentication));
        return new Verdict(chain.Build(certificate), certificate.NotAfter.ToUniversalTime());
    }

    private sealed record Verdict(bool IsTrusted, DateTimeOffset NotAfter);
}
