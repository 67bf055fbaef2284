using System.Text;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Secrets of type kubernetes.io/service-account-token: fills in token, CA and namespace, deletes them with their account, and takes deleted ones off the
/// account's list.
/// </summary>
internal sealed class TokenSecretController : Controller
{
    internal const string SecretType = "kubernetes.io/service-account-token";
    internal const string AccountAnnotation = "kubernetes.io/service-account.name";
    internal const string UidAnnotation = "kubernetes.io/service-account.uid";

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1Secret> _secrets;
    private readonly Informer<V1ServiceAccount> _accounts;
    private readonly WorkQueue<Work> _queue;

    internal TokenSecretController(ControllerContext context) : base("serviceaccount-token-controller")
    {
        // Upstream runs it with the manager's own rights: no service account may read all secrets.
        (_context, _client, _queue) = (context, context.ClientFor(ControllerManager.SharedIdentity), context.Queue<Work>());
        _accounts = context.Informers.Get(Resources.ServiceAccounts);
        _accounts.AddHandler(new InformerHandler<V1ServiceAccount>(Deleted: AccountDeleted));
        _secrets = context.Informers.Get(Resources.Secrets, null, new ListOptions(FieldSelector: $"type={SecretType}"));
        _secrets.AddHandler(new InformerHandler<V1Secret>(Changed, (_, secret) => Changed(secret), Changed));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private void Changed(V1Secret secret) => _queue.Add(new Work(secret.Metadata.NamespaceProperty, secret.Metadata.Name, secret.Metadata.Uid, AccountOf(secret), UidOf(secret)));

    private void AccountDeleted(V1ServiceAccount account) => _queue.Add(new Work(account.Metadata.NamespaceProperty, "", "", account.Metadata.Name, account.Metadata.Uid));

    private async ValueTask ReconcileAsync(Work work, CancellationToken cancellationToken)
    {
        if (work.Secret.Length == 0)
        {
            foreach (var secret in _secrets.List())
            {
                if (secret.Metadata.NamespaceProperty == work.Namespace && AccountOf(secret) == work.Account && UidOf(secret) == work.AccountUid) Changed(secret);
            }
            return;
        }
        // Asked of the server: the informer may not have seen an account that was made a moment ago.
        var account = work.Account.Length == 0 ? null : await _client.FindAsync(Resources.ServiceAccounts, work.Namespace, work.Account, cancellationToken).ConfigureAwait(false);
        if (account is not null && work.AccountUid.Length > 0 && account.Metadata.Uid != work.AccountUid) account = null;
        try
        {
            if (_secrets.Get(work.Namespace, work.Secret) is not { } found || found.Metadata.Uid != work.Uid)
            {
                if (account is not null) await ForgetAsync(account, work.Secret, cancellationToken).ConfigureAwait(false);
            }
            else if (account is null)
            {
                var options = new V1DeleteOptions { ApiVersion = "v1", Kind = "DeleteOptions", Preconditions = new V1Preconditions { Uid = work.Uid } };
                await _client.DeleteAsync(Resources.Secrets, work.Namespace, work.Secret, cancellationToken, options).ConfigureAwait(false);
            }
            else
            {
                await FillAsync(found, account, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (ApiException refused) when (refused.IsNotFound || refused.IsConflict)
        {
            // Somebody else was faster; the informer brings what it is now.
        }
    }

    private async ValueTask FillAsync(V1Secret secret, V1ServiceAccount account, CancellationToken cancellationToken)
    {
        var ca = Encoding.UTF8.GetBytes(_context.Options.RootCaPem);
        var data = new Dictionary<string, byte[]>(secret.Data ?? new Dictionary<string, byte[]>());
        var isComplete = data.GetValueOrDefault("ca.crt") is { } known && known.AsSpan().SequenceEqual(ca)
            && data.GetValueOrDefault("namespace") is { Length: > 0 } && data.GetValueOrDefault("token") is { Length: > 0 };
        if (isComplete) return;
        var metadata = secret.Metadata;
        data["ca.crt"] = ca;
        if (data.GetValueOrDefault("namespace") is not { Length: > 0 }) data["namespace"] = Encoding.UTF8.GetBytes(metadata.NamespaceProperty);
        if (data.GetValueOrDefault("token") is not { Length: > 0 })
        {
            if (_context.Options.SignTokenOfSecret is not { } sign) return;
            data["token"] = Encoding.ASCII.GetBytes(sign(metadata.NamespaceProperty, account.Metadata.Name, account.Metadata.Uid, metadata.Name));
        }
        var annotations = new Dictionary<string, string>(metadata.Annotations ?? new Dictionary<string, string>())
        {
            [AccountAnnotation] = account.Metadata.Name,
            [UidAnnotation] = account.Metadata.Uid,
        };
        await _client.UpdateAsync(Resources.Secrets, secret with { Metadata = metadata with { Annotations = annotations }, Data = data }, cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask ForgetAsync(V1ServiceAccount account, string secret, CancellationToken cancellationToken)
    {
        if (account.Secrets?.Any(reference => reference.Name == secret) != true) return;
        var kept = account.Secrets.Where(reference => reference.Name != secret).ToList();
        await _client.UpdateAsync(Resources.ServiceAccounts, account with { Secrets = kept }, cancellationToken).ConfigureAwait(false);
    }

    private static string AccountOf(V1Secret secret) => secret.Metadata.Annotations?.TryGetValue(AccountAnnotation, out var name) == true ? name : "";

    private static string UidOf(V1Secret secret) => secret.Metadata.Annotations?.TryGetValue(UidAnnotation, out var uid) == true ? uid : "";

    /// <summary>A secret with what it says of its account; with no secret, an account that is gone.</summary>
    private readonly record struct Work(string Namespace, string Secret, string Uid, string Account, string AccountUid);
}
