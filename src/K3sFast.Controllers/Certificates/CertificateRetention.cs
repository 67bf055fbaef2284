using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>When a certificate signing request has served its purpose: an hour after its end, a day when nothing became of it.</summary>
internal static class CertificateRetention
{
    private static readonly TimeSpan s_ended = TimeSpan.FromHours(1);
    private static readonly TimeSpan s_pending = TimeSpan.FromHours(24);

    internal static bool IsOver(V1CertificateSigningRequest csr, DateTimeOffset now)
    {
        var conditions = csr.Status?.Conditions ?? [];
        if (conditions.Count == 0) return IsOlder(csr.Metadata.CreationTimestamp, s_pending, now);
        var isIssued = csr.Status!.Certificate is { Length: > 0 };
        foreach (var condition in conditions)
        {
            switch (condition.Type)
            {
                case "Denied" or "Failed" when IsOlder(condition.LastUpdateTime, s_ended, now):
                case "Approved" when IsOlder(condition.LastUpdateTime, isIssued ? s_ended : s_pending, now):
                case "Approved" when isIssued && HasExpired(csr.Status.Certificate, now):
                    return true;
            }
        }
        return false;
    }

    private static bool IsOlder(DateTime? time, TimeSpan age, DateTimeOffset now) => time is { } then && now.UtcDateTime - then > age;

    private static bool HasExpired(byte[] pem, DateTimeOffset now)
    {
        try
        {
            using var certificate = X509Certificate2.CreateFromPem(Encoding.ASCII.GetString(pem));
            return now > certificate.NotAfter.ToUniversalTime();
        }
        catch (CryptographicException)
        {
            return false;
        }
    }
}
