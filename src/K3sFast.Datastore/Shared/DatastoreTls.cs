using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.Datastore;

/// <summary>How the way to a datastore is secured: k3s's --datastore-cafile, --datastore-certfile and --datastore-keyfile.</summary>
/// <param name="AuthorityFile">PEM certificates that the server's chain must end in; empty = the host's own trust.</param>
/// <param name="CertificateFile">PEM certificate (and its issuers) that is shown to the server; empty = none.</param>
/// <param name="KeyFile">PEM key of that certificate.</param>
public sealed record DatastoreTls(string AuthorityFile = "", string CertificateFile = "", string KeyFile = "")
{
    /// <summary>True when none of the files is given.</summary>
    public bool IsEmpty => AuthorityFile.Length == 0 && CertificateFile.Length == 0 && KeyFile.Length == 0;

    /// <summary>The client's side of a handshake with <paramref name="host"/>.</summary>
    /// <remarks>Throws <see cref="DatastoreOpenException"/> when a file cannot be read.</remarks>
    internal SslClientAuthenticationOptions ForHost(string host)
    {
        if ((CertificateFile.Length > 0) != (KeyFile.Length > 0))
        {
            throw new DatastoreOpenException(DatastoreOpenFailure.Other, "--datastore-certfile and --datastore-keyfile go together: give both or none");
        }
        var options = new SslClientAuthenticationOptions { TargetHost = host };
        try
        {
            if (AuthorityFile.Length > 0)
            {
                var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
                policy.CustomTrustStore.ImportFromPemFile(AuthorityFile);
                options.CertificateChainPolicy = policy;
            }
            if (CertificateFile.Length > 0)
            {
                var issuers = new X509Certificate2Collection();
                issuers.ImportFromPemFile(CertificateFile);
                var certificate = X509Certificate2.CreateFromPemFile(CertificateFile, KeyFile);
                options.ClientCertificateContext = SslStreamCertificateContext.Create(certificate, [.. issuers.Skip(1)], offline: true);
            }
            return options;
        }
        catch (Exception error) when (error is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new DatastoreOpenException(
                DatastoreOpenFailure.Other,
                $"the datastore's TLS files cannot be used: {error.Message}; look at --datastore-cafile, --datastore-certfile and --datastore-keyfile",
                error);
        }
    }
}
