using System.Globalization;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Client;

/// <summary>How long a leader may be silent, and how often is looked.</summary>
/// <param name="LeaseDuration">A leader who has not renewed for this long is taken for gone.</param>
/// <param name="RenewDeadline">A leader who cannot renew for this long stops, well before another one starts.</param>
/// <param name="RetryPeriod">Between two tries.</param>
public sealed record LeaderElectionOptions(TimeSpan LeaseDuration, TimeSpan RenewDeadline, TimeSpan RetryPeriod)
{
    /// <summary>
    /// 8 s, 6 s and 2 s. Kubernetes has 15, 10 and 2, since there a lost Lease ends the process; here a leader that stops costs a list, so another may come sooner.
    /// </summary>
    public static LeaderElectionOptions Default { get; } = new(TimeSpan.FromSeconds(8), TimeSpan.FromSeconds(6), TimeSpan.FromSeconds(2));
}

/// <summary>
/// Lets one of several servers do a work: who holds the Lease object does. A leader who loses it stops and waits again, the process lives on;
/// one who stops in order gives it back, so that the next one starts at once.
/// </summary>
/// <remarks>
/// Clocks of machines are never compared: a Lease that has not changed for its duration, by our own clock, has no holder any more.
/// </remarks>
public sealed class LeaderElector(ApiClient client, string name, string identity, LeaderElectionOptions options, ILogger logger, TimeProvider? time = null)
{
    private const string Namespace = "kube-system";

    private readonly TimeProvider _time = time ?? TimeProvider.System;

    // Owned by the loop
    private string _seen = "";
    private long _seenAt;
    private string _holder = "";

    /// <summary>True while this one leads.</summary>
    public bool IsLeader { get; private set; }

    /// <summary>Runs a work whenever this one leads, until cancelled. The work is begun anew for each time, and must end when its token says so.</summary>
    public async Task RunAsync(Func<CancellationToken, Task> work, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(work);
        while (!cancellationToken.IsCancellationRequested)
        {
            if (await TryAcquireAsync(cancellationToken).ConfigureAwait(false))
            {
                Log.BecameLeader(logger, name, identity);
                await LeadAsync(work, cancellationToken).ConfigureAwait(false);
            }
            // A little by chance, so that the waiting do not all come at once.
            await Task.Delay(options.RetryPeriod * (1 + (0.2 * Random.Shared.NextDouble())), _time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task LeadAsync(Func<CancellationToken, Task> work, CancellationToken cancellationToken)
    {
        using var leading = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        IsLeader = true;
        var running = Task.Run(() => work(leading.Token), CancellationToken.None);
        try
        {
            long renewedAt = _time.GetTimestamp();
            while (!cancellationToken.IsCancellationRequested && !running.IsCompleted)
            {
                await Task.WhenAny(running, Task.Delay(options.RetryPeriod, _time, cancellationToken)).ConfigureAwait(false);
                if (cancellationToken.IsCancellationRequested || running.IsCompleted) break;
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                var left = options.RenewDeadline - _time.GetElapsedTime(renewedAt);
                if (left > TimeSpan.Zero)
                {
                    limit.CancelAfter(left);
                    if (await TryAcquireAsync(limit.Token).ConfigureAwait(false))
                    {
                        renewedAt = _time.GetTimestamp();
                        continue;
                    }
                }
                if (_holder == identity && _time.GetElapsedTime(renewedAt) < options.RenewDeadline) continue;
                Log.LostLeadership(logger, name, _holder);
                break;
            }
        }
        finally
        {
            await leading.CancelAsync().ConfigureAwait(false);
            IsLeader = false;
        }
        // Its own failures are the work's to tell; nothing of it may go on while somebody else leads.
        try
        {
            await running.ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (leading.IsCancellationRequested)
        {
        }
        finally
        {
            if (_holder == identity) await ReleaseAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Takes or renews the Lease; false = somebody else has it, or the API does not answer.</summary>
    private async Task<bool> TryAcquireAsync(CancellationToken cancellationToken)
    {
        try
        {
            var now = _time.GetUtcNow().UtcDateTime;
            var lease = await client.FindAsync(Resources.Leases, Namespace, name, cancellationToken).ConfigureAwait(false);
            if (lease is null)
            {
                await client.CreateAsync(Resources.Leases, new V1Lease
                {
                    Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = Namespace },
                    Spec = new V1LeaseSpec { HolderIdentity = identity, LeaseDurationSeconds = Seconds, AcquireTime = now, RenewTime = now, LeaseTransitions = 0 },
                }, cancellationToken).ConfigureAwait(false);
                _holder = identity;
                return true;
            }
            Observe(lease);
            lease.Spec ??= new V1LeaseSpec();
            if (_holder.Length > 0 && _holder != identity && _time.GetElapsedTime(_seenAt) < Duration(lease)) return false;
            if (_holder != identity) (lease.Spec.AcquireTime, lease.Spec.LeaseTransitions) = (now, (lease.Spec.LeaseTransitions ?? 0) + 1);
            (lease.Spec.HolderIdentity, lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds) = (identity, now, Seconds);
            var taken = await client.UpdateAsync(Resources.Leases, lease, cancellationToken).ConfigureAwait(false);
            Observe(taken);
            return true;
        }
        catch (ApiException error)
        {
            if (!error.IsConflict && !error.IsAlreadyExists) Log.ElectionFailed(logger, name, error.Message);
            return false;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
        // The API is out of reach: that decides nothing, the deadline does.
        catch (Exception error)
        {
            Log.ElectionFailed(logger, name, error.Message);
            return false;
        }
    }

    private int Seconds => (int)Math.Ceiling(options.LeaseDuration.TotalSeconds);

    private void Observe(V1Lease lease)
    {
        string version = lease.Metadata.ResourceVersion ?? "";
        _holder = lease.Spec?.HolderIdentity ?? "";
        if (version == _seen) return;
        (_seen, _seenAt) = (version, _time.GetTimestamp());
    }

    private TimeSpan Duration(V1Lease lease) => lease.Spec?.LeaseDurationSeconds is > 0 and var seconds ? TimeSpan.FromSeconds(seconds) : options.LeaseDuration;

    private async Task ReleaseAsync()
    {
        using var limit = new CancellationTokenSource(options.RetryPeriod);
        try
        {
            var lease = await client.FindAsync(Resources.Leases, Namespace, name, limit.Token).ConfigureAwait(false);
            if (lease?.Spec?.HolderIdentity != identity) return;
            var now = _time.GetUtcNow().UtcDateTime;
            // As upstream: nobody holds it, and a second is its duration.
            (lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime, lease.Spec.AcquireTime) = ("", 1, now, now);
            await client.UpdateAsync(Resources.Leases, lease, limit.Token).ConfigureAwait(false);
        }
        // It runs out by itself.
        catch (Exception error)
        {
            Log.ElectionFailed(logger, name, error.Message);
        }
    }

    /// <summary>A name that no other process has: the host's and a random part, as Kubernetes' components make it.</summary>
    public static string NewIdentity(string host) => string.Create(CultureInfo.InvariantCulture, $"{host}_{Guid.NewGuid()}");
}
