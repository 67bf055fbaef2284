using System.Security.Cryptography.X509Certificates;

namespace K3sFast.Server;

/// <summary>A certificate that is looked at now and then, so that it does not end while the process goes on.</summary>
/// <param name="ensure">Renews it when it must be, and reads it.</param>
internal sealed class RenewedCertificate(Func<X509Certificate2> ensure)
{
    private static readonly TimeSpan s_look = TimeSpan.FromHours(12);

    private volatile X509Certificate2 _current = ensure();

    /// <summary>What is good now. Any thread.</summary>
    public X509Certificate2 Current => _current;

    /// <summary>Looks twice a day until cancelled.</summary>
    public async Task FollowAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            await Task.Delay(s_look, cancellationToken).ConfigureAwait(false);
            // The old one may be in the middle of a handshake: it is left to the collector.
            _current = ensure();
        }
    }
}
