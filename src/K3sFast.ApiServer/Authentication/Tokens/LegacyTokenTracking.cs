using System.Collections.Concurrent;
using System.Globalization;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Keeps the day on which a Secret's token was last used as a label of the Secret, so that the controller that cleans up knows which ones nobody
/// uses; and the ConfigMap that says since when it is kept.
/// </summary>
/// <remarks>Any thread. A day's first use costs one write in the background; nobody waits for it.</remarks>
internal sealed class LegacyTokenTracking(ResourceCatalog catalog, WriteFlow writes, TimeProvider clock, ILogger logger)
{
    internal const string LastUsedLabel = "kubernetes.io/legacy-token-last-used";
    internal const string InvalidSinceLabel = "kubernetes.io/legacy-token-invalid-since";

    private const string MapName = "kube-apiserver-legacy-service-account-token-tracking";
    private const string DateForm = "yyyy-MM-dd";

    private readonly ConcurrentDictionary<(string Namespace, string Name), bool> _beingWritten = new();

    private string Today => clock.GetUtcNow().ToString(DateForm, CultureInfo.InvariantCulture);

    /// <summary>Notes that the token was shown today; <paramref name="lastUsed"/> is what the Secret says now.</summary>
    internal void NoteUse(string ns, string secret, string lastUsed)
    {
        // Another server's clock may be a little ahead.
        if (lastUsed == Today || lastUsed == clock.GetUtcNow().AddDays(1).ToString(DateForm, CultureInfo.InvariantCulture))
            return;
        if (_beingWritten.TryAdd((ns, secret), true))
            _ = LabelAsync(ns, secret);
    }

    /// <summary>Makes the ConfigMap, or puts a date right that is none or lies ahead.</summary>
    internal async Task EnsureSinceAsync(CancellationToken cancel)
    {
        var maps = catalog.Storage("", "configmaps");
        var context = new WriteContext(UserInfo.ApiServer, "kube-system", MapName, false, cancel);
        using (var stored = maps.Get("kube-system", MapName))
        {
            if (stored is not null)
            {
                using var current = maps.Decode(stored);
                if (DateTime.TryParseExact(current.Root["data"u8]["since"u8].AsString(), DateForm, CultureInfo.InvariantCulture, DateTimeStyles.None, out var since)
                    && since <= clock.GetUtcNow().UtcDateTime)
                    return;
                using var repaired = await writes.UpdateAsync(maps, "", context, old =>
                {
                    var changed = old.Clone();
                    changed.Root.GetOrAddObject("data"u8).Set("since"u8, Today);
                    return changed;
                }, isPatch: true).ConfigureAwait(false);
                return;
            }
        }
        using var document = new ApiObject();
        document.Root.Set("kind"u8, "ConfigMap"u8);
        document.Root.Set("apiVersion"u8, "v1"u8);
        var metadata = document.Root.GetOrAddObject("metadata"u8);
        metadata.Set("name"u8, MapName);
        metadata.Set("namespace"u8, "kube-system"u8);
        document.Root.GetOrAddObject("data"u8).Set("since"u8, Today);
        try
        {
            using var created = await writes.CreateAsync(maps, document, context).ConfigureAwait(false);
        }
        catch (ApiStatusException taken) when (taken.Status.Reason == "AlreadyExists")
        {
            // Another server of the cluster has just made it.
        }
    }

    private async Task LabelAsync(string ns, string secret)
    {
        try
        {
            var context = new WriteContext(UserInfo.ApiServer, ns, secret, false, CancellationToken.None);
            using var answer = await writes.UpdateAsync(catalog.Storage("", "secrets"), "", context, old =>
            {
                var changed = old.Clone();
                changed.Root.GetOrAddObject("metadata"u8).GetOrAddObject("labels"u8).Set("kubernetes.io/legacy-token-last-used"u8, Today);
                return changed;
            }, isPatch: true).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            Log.BackgroundFailed(logger, $"noting the last use of the token in secret {ns}/{secret}", error.Message);
        }
        finally
        {
            _beingWritten.TryRemove((ns, secret), out _);
        }
    }
}
