using System.Globalization;
using System.Text;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Old tokens that controllers once made for accounts: when nobody has used one for a year, and no pod mounts it, it is marked invalid; a year later it is
/// deleted. Secrets made by hand are left alone.
/// </summary>
internal sealed class LegacyTokenCleaner : Controller
{
    private const string LastUsedLabel = "kubernetes.io/legacy-token-last-used";
    private const string InvalidSinceLabel = "kubernetes.io/legacy-token-invalid-since";
    private const string DateForm = "yyyy-MM-dd";

    private static readonly TimeSpan s_period = TimeSpan.FromHours(24);

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1Secret> _secrets;
    private readonly Informer<V1ServiceAccount> _accounts;

    internal LegacyTokenCleaner(ControllerContext context) : base("legacy-service-account-token-cleaner")
    {
        (_context, _client) = (context, context.ClientFor(Name));
        _accounts = context.Informers.Get(Resources.ServiceAccounts);
        _secrets = context.Informers.Get(Resources.Secrets, null, new ListOptions(FieldSelector: $"type={TokenSecretController.SecretType}"));
    }

    internal override async Task RunAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                await CleanAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (ApiException refused)
            {
                Log.Trouble(_context.Logger(Name), Name, refused.Message);
            }
            await Task.Delay(s_period, _context.Time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async ValueTask CleanAsync(CancellationToken cancellationToken)
    {
        var now = _context.Time.GetUtcNow();
        var tracking = await _client.FindAsync(Resources.ConfigMaps, "kube-system", "kube-apiserver-legacy-service-account-token-tracking", cancellationToken).ConfigureAwait(false);
        // Uses of the first day were not all seen.
        if (tracking?.Data?.TryGetValue("since", out var text) != true || Date(text!) is not { } since || now < since.AddDays(1) + _context.Options.LegacyTokenCleanUpPeriod)
            return;
        var oldest = now - _context.Options.LegacyTokenCleanUpPeriod;
        foreach (var secret in _secrets.List())
        {
            if (!IsUnused(secret, oldest) || IsMounted(secret)) continue;
            if (Label(secret, InvalidSinceLabel) is not { } label || Date(label) is not { } invalidSince)
                await MarkAsync(secret, now, cancellationToken).ConfigureAwait(false);
            else if (invalidSince < Day(oldest))
                await DeleteAsync(secret, cancellationToken).ConfigureAwait(false);
        }
    }

    private bool IsUnused(V1Secret secret, DateTimeOffset oldest)
    {
        if (secret.Metadata.DeletionTimestamp is not null || secret.Metadata.CreationTimestamp >= oldest.UtcDateTime) return false;
        // Without the label it has not been used since uses are noted; a label that is no date says nothing.
        if (Label(secret, LastUsedLabel) is { } label && (Date(label) is not { } used || used >= Day(oldest))) return false;
        var annotations = secret.Metadata.Annotations;
        if (annotations?.TryGetValue(TokenSecretController.AccountAnnotation, out var name) != true || _accounts.Get(secret.Metadata.NamespaceProperty, name!) is not { } account)
            return false;
        if (annotations!.TryGetValue(TokenSecretController.UidAnnotation, out var uid) && uid.Length > 0 && uid != account.Metadata.Uid) return false;
        return account.Secrets?.Any(reference => reference.Name == secret.Metadata.Name) == true;
    }

    private bool IsMounted(V1Secret secret)
    {
        foreach (var pod in _context.Pods.EachByIndex(PodIndex.ByNamespace, secret.Metadata.NamespaceProperty))
        {
            if (pod.Spec.Volumes?.Any(volume => volume.Secret?.SecretName == secret.Metadata.Name
                || volume.Projected?.Sources?.Any(source => source.Secret?.Name == secret.Metadata.Name) == true) == true)
                return true;
            if (pod.Spec.Containers.Concat(pod.Spec.InitContainers ?? []).Any(container =>
                container.EnvFrom?.Any(source => source.SecretRef?.Name == secret.Metadata.Name) == true
                || container.Env?.Any(variable => variable.ValueFrom?.SecretKeyRef?.Name == secret.Metadata.Name) == true))
                return true;
        }
        return false;
    }

    private async ValueTask MarkAsync(V1Secret secret, DateTimeOffset now, CancellationToken cancellationToken)
    {
        Log.Note(_context.Logger(Name), Name, $"marking the unused token in secret {secret.Metadata.NamespaceProperty}/{secret.Metadata.Name} invalid");
        var today = now.ToString(DateForm, CultureInfo.InvariantCulture);
        var patch = $"{{\"metadata\":{{\"uid\":\"{secret.Metadata.Uid}\",\"labels\":{{\"{InvalidSinceLabel}\":\"{today}\"}}}}}}";
        await _client.PatchAsync(
            Resources.Secrets, secret.Metadata.NamespaceProperty, secret.Metadata.Name, PatchBody.Merge(Encoding.UTF8.GetBytes(patch)), cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask DeleteAsync(V1Secret secret, CancellationToken cancellationToken)
    {
        try
        {
            var options = new V1DeleteOptions
            {
                ApiVersion = "v1", Kind = "DeleteOptions", Preconditions = new V1Preconditions { ResourceVersion = secret.Metadata.ResourceVersion },
            };
            await _client.DeleteAsync(Resources.Secrets, secret.Metadata.NamespaceProperty, secret.Metadata.Name, cancellationToken, options).ConfigureAwait(false);
        }
        catch (ApiException changed) when (changed.IsConflict || changed.IsNotFound)
        {
            // Used or deleted a moment ago.
        }
    }

    private static string? Label(V1Secret secret, string name) => secret.Metadata.Labels?.TryGetValue(name, out var value) == true ? value : null;

    private static DateTimeOffset Day(DateTimeOffset time) => new(time.UtcDateTime.Date, TimeSpan.Zero);

    private static DateTimeOffset? Date(string text) =>
        DateTimeOffset.TryParseExact(text, DateForm, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var date) ? date : null;
}
