using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// The Lease by which API servers know of each other: apiserver-&lt;hash&gt; in kube-system, renewed while this one lives. Those of servers that are gone
/// are taken away once they have run out.
/// </summary>
internal sealed class IdentityLease
{
    // Upstream renews every 10 s, which would be half of all that an idle node writes to disk; nobody asks sooner than the lease runs out.
    private static readonly TimeSpan s_renewal = TimeSpan.FromMinutes(5);

    // Upstream's figures.
    private static readonly TimeSpan s_collection = TimeSpan.FromHours(1);
    private const int DurationSeconds = 3600;

    private const string Namespace = "kube-system";
    private const string Identity = "kube-apiserver";

    private readonly SystemObjects _objects;
    private readonly ResourceStorage _leases;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly string _hostname;
    private readonly string _holder;

    internal IdentityLease(ResourceCatalog catalog, SystemObjects objects, ApiServerOptions options, ILogger logger)
    {
        _objects = objects;
        _leases = catalog.Storage("coordination.k8s.io", "leases");
        _clock = options.Clock;
        _logger = logger;
        _hostname = options.Hostname;
        Name = NameOf(_hostname);
        _holder = $"{Name}_{Guid.NewGuid()}";
    }

    /// <summary>The Lease's name, the same at every start of a host's server.</summary>
    internal string Name { get; }

    /// <summary>True = a server of this host had it: it is taken over beside the work.</summary>
    internal bool IsThere
    {
        get
        {
            using var stored = _leases.Get(Namespace, Name);
            return stored is not null;
        }
    }

    /// <summary>Makes the Lease or takes it over.</summary>
    internal Task RenewAsync(CancellationToken cancel) => _objects.EnsureAsync(_leases, Namespace, Name, Write, Write, cancel);

    /// <summary>Renews the Lease, and takes away those that ran out, until cancelled. <paramref name="isRenewed"/>: it was just now, and need not be at once.</summary>
    internal async Task FollowAsync(bool isRenewed, CancellationToken cancel)
    {
        var collected = DateTimeOffset.MinValue;
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                if (!isRenewed)
                    await RenewAsync(cancel).ConfigureAwait(false);
                if (_clock.GetUtcNow() - collected >= s_collection)
                {
                    collected = _clock.GetUtcNow();
                    await CollectAsync(cancel).ConfigureAwait(false);
                }
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested)
            {
                return;
            }
            catch (Exception error)
            {
                Log.BackgroundFailed(_logger, $"renewing the lease {Name}", error.Message);
            }
            isRenewed = false;
            await Task.Delay(s_renewal, _clock, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Takes away the leases of servers that did not renew them in time.</summary>
    internal async Task CollectAsync(CancellationToken cancel)
    {
        var expired = new List<string>();
        foreach (var stored in _leases.All(Namespace))
        {
            using var document = _leases.Decode(stored);
            if (document.Root["metadata"u8]["labels"u8]["apiserver.kubernetes.io/identity"u8].AsString() == Identity && IsExpired(document.Root["spec"u8]))
                expired.Add(stored.Name());
        }
        foreach (var name in expired)
        {
            using var current = _leases.Get(Namespace, name);
            if (current is null)
                continue;
            using var deleted = await _leases.TryDeleteAsync(current, cancel).ConfigureAwait(false);
        }
    }

    private bool IsExpired(ApiNode spec)
    {
        var renewed = spec["renewTime"u8];
        var seconds = spec["leaseDurationSeconds"u8];
        if (!renewed.IsDefined || !seconds.IsDefined)
            return true;
        return !DateTimeOffset.TryParse(renewed.AsString(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var at)
            || at.AddSeconds(seconds.AsInt64()) < _clock.GetUtcNow();
    }

    private void Write(ApiNode obj)
    {
        var labels = obj["metadata"u8].GetOrAddObject("labels"u8);
        labels.Set("apiserver.kubernetes.io/identity"u8, Identity);
        labels.Set("kubernetes.io/hostname"u8, _hostname);
        var spec = obj.GetOrAddObject("spec"u8);
        spec.Set("holderIdentity"u8, _holder);
        spec.Set("leaseDurationSeconds"u8, DurationSeconds);
        spec.Set("renewTime"u8, _clock.GetUtcNow().ToString("yyyy-MM-ddTHH:mm:ss.ffffffZ", CultureInfo.InvariantCulture));
    }

    /// <summary>Upstream's name: SHA-256 over hostname and identity, each behind its length in two bytes, 16 bytes of it in base32.</summary>
    internal static string NameOf(string hostname)
    {
        byte[] host = Encoding.UTF8.GetBytes(hostname), identity = Encoding.UTF8.GetBytes(Identity);
        byte[] data = [(byte)(host.Length >> 8), (byte)host.Length, .. host, (byte)(identity.Length >> 8), (byte)identity.Length, .. identity];
        return $"apiserver-{Base32(SHA256.HashData(data).AsSpan(0, 16))}";
    }

    // RFC 4648 §6, lower case and without padding.
    private static string Base32(ReadOnlySpan<byte> bytes)
    {
        const string Digits = "abcdefghijklmnopqrstuvwxyz234567";
        var text = new StringBuilder();
        int bits = 0, count = 0;
        foreach (var value in bytes)
        {
            bits = bits << 8 | value;
            for (count += 8; count >= 5; count -= 5)
                text.Append(Digits[bits >> count - 5 & 31]);
        }
        return count == 0 ? text.ToString() : text.Append(Digits[bits << 5 - count & 31]).ToString();
    }
}
