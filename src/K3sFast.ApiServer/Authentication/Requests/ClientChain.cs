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

    private ConditionalWeakTable<X509Certificate2, Verdict> _verdicts = [];
    private X509Certificate2Collection _authorities = authorities;

    /// <summary>The CAs of now.</summary>
    internal X509Certificate2Collection Authorities => Volatile.Read(ref _authorities);

    /// <summary>Judges by other CAs from here on, certificates of connections that stand as well.</summary>
    internal void Use(X509Certificate2Collection others)
    {
        Volatile.Write(ref _authorities, others);
        Volatile.Write(ref _verdicts, []);
    }

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
        var verdicts = Volatile.Read(ref _verdicts);
        if (!verdicts.TryGetValue(certificate, out var verdict))
            verdict = verdicts.GetValue(certificate, Judge);
        // A connection may outlive its certificate.
        return verdict.IsTrusted && clock.GetUtcNow() <= verdict.NotAfter;
    }

    private Verdict Judge(X509Certificate2 certificate)
    {
        var authorities = Volatile.Read(ref _authorities);
        var isTrusted = ChainsTo(authorities, certificate);
        // Of CAs with one name, as while one is exchanged for another, a chain is only tried to the first.
        for (var i = 0; !isTrusted && authorities.Count > 1 && i < authorities.Count; i++)
            isTrusted = ChainsTo([authorities[i]], certificate);
        return new Verdict(isTrusted, certificate.NotAfter.ToUniversalTime());
    }

    private bool ChainsTo(X509Certificate2Collection authorities, X509Certificate2 certificate)
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
        return chain.Build(certificate);
    }

    private sealed record Verdict(bool IsTrusted, DateTimeOffset NotAfter);
}
