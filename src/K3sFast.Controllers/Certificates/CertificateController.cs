using System.Text;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Certificate signing requests: approves those of kubelets that may have a client certificate, signs what is approved for one of kubernetes.io's four
/// signers, and deletes requests that are over.
/// </summary>
internal sealed class CertificateController : Controller
{
    private static readonly TimeSpan s_cleaning = TimeSpan.FromHours(1);

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1CertificateSigningRequest> _requests;
    private readonly WorkQueue<string> _queue;

    internal CertificateController(ControllerContext context) : base("certificate-controller")
    {
        (_context, _client) = (context, context.ClientFor(Name));
        // A request that nobody may approve is looked at again seldom: somebody may be given the right.
        _queue = new WorkQueue<string>(context.Time, TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(1000));
        _requests = context.Informers.Get(Resources.CertificateSigningRequests);
        _requests.AddHandler(new InformerHandler<V1CertificateSigningRequest>(value => _queue.Add(value.Metadata.Name), (_, value) => _queue.Add(value.Metadata.Name)));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(
        _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken), CleanAsync(cancellationToken));

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        if (_requests.Get(null, name) is not { } csr || csr.Status?.Certificate is { Length: > 0 }) return;
        try
        {
            if (!SignerRules.IsDecided(csr)) await ApproveAsync(csr, cancellationToken).ConfigureAwait(false);
            else if (SignerRules.IsApproved(csr) && !SignerRules.HasFailed(csr)) await SignAsync(csr, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound || gone.IsConflict)
        {
            // The informer brings what it is now.
        }
    }

    private async ValueTask ApproveAsync(V1CertificateSigningRequest csr, CancellationToken cancellationToken)
    {
        if (csr.Spec.SignerName != SignerRules.KubeletClient || Parse(csr) is not { } request
            || SignerRules.Refusal(SignerRules.KubeletClient, request, csr.Spec.Usages ?? []) is not null)
            return;
        var isSelf = csr.Spec.Username == request.CommonName;
        if (isSelf && await MayAsync(csr, "selfnodeclient", cancellationToken).ConfigureAwait(false))
            await ApproveAsync(csr, "Auto approving self kubelet client certificate after SubjectAccessReview.", cancellationToken).ConfigureAwait(false);
        else if (await MayAsync(csr, "nodeclient", cancellationToken).ConfigureAwait(false))
            await ApproveAsync(csr, "Auto approving kubelet client certificate after SubjectAccessReview.", cancellationToken).ConfigureAwait(false);
        else
            _queue.AddRateLimited(csr.Metadata.Name);
    }

    private async ValueTask<bool> MayAsync(V1CertificateSigningRequest csr, string subresource, CancellationToken cancellationToken)
    {
        var review = new V1SubjectAccessReview
        {
            ApiVersion = "authorization.k8s.io/v1",
            Kind = "SubjectAccessReview",
            Spec = new V1SubjectAccessReviewSpec
            {
                User = csr.Spec.Username,
                Uid = csr.Spec.Uid,
                Groups = csr.Spec.Groups,
                Extra = csr.Spec.Extra,
                ResourceAttributes = new V1ResourceAttributes
                {
                    Group = "certificates.k8s.io", Resource = "certificatesigningrequests", Verb = "create", Subresource = subresource, Version = "*",
                },
            },
        };
        var answer = await _client.PostAsync<V1SubjectAccessReview, V1SubjectAccessReview>(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews", review, cancellationToken).ConfigureAwait(false);
        return answer.Status?.Allowed == true;
    }

    private async ValueTask ApproveAsync(V1CertificateSigningRequest csr, string message, CancellationToken cancellationToken)
    {
        var condition = new V1CertificateSigningRequestCondition { Type = "Approved", Status = "True", Reason = "AutoApproved", Message = message };
        var approved = csr with { Status = With(csr.Status, condition) };
        await _client.UpdateAsync(Resources.CertificateSigningRequests, approved, cancellationToken, "approval").ConfigureAwait(false);
        Log.Note(_context.Logger(Name), Name, $"approved {csr.Metadata.Name} of {csr.Spec.Username}");
    }

    private async ValueTask SignAsync(V1CertificateSigningRequest csr, CancellationToken cancellationToken)
    {
        if (AuthorityOf(csr.Spec.SignerName) is not { } authority || Parse(csr) is not { } request) return;
        if (SignerRules.Refusal(csr.Spec.SignerName, request, csr.Spec.Usages ?? []) is { } refusal)
        {
            var condition = new V1CertificateSigningRequestCondition
            {
                Type = "Failed", Status = "True", Reason = "SignerValidationFailure", Message = refusal, LastUpdateTime = _context.Now,
            };
            await _client.UpdateStatusAsync(Resources.CertificateSigningRequests, csr with { Status = With(csr.Status, condition) }, cancellationToken).ConfigureAwait(false);
            return;
        }
        var pem = CertificateSigner.Sign(
            authority, request, csr.Spec.Usages ?? [], csr.Spec.ExpirationSeconds, _context.Options.SigningDuration, _context.Time.GetUtcNow());
        var status = (csr.Status ?? new V1CertificateSigningRequestStatus()) with { Certificate = Encoding.ASCII.GetBytes(pem) };
        await _client.UpdateStatusAsync(Resources.CertificateSigningRequests, csr with { Status = status }, cancellationToken).ConfigureAwait(false);
        Log.Note(_context.Logger(Name), Name, $"signed {csr.Metadata.Name} for {csr.Spec.SignerName}");
    }

    private SigningAuthority? AuthorityOf(string signer) => signer switch
    {
        SignerRules.ApiServerClient or SignerRules.KubeletClient => _context.Options.ClientAuthority,
        SignerRules.KubeletServing or SignerRules.LegacyUnknown => _context.Options.ServingAuthority,
        _ => null,
    };

    private SigningRequest? Parse(V1CertificateSigningRequest csr)
    {
        try
        {
            return SigningRequest.Parse(csr.Spec.Request);
        }
        catch (FormatException error)
        {
            Log.Trouble(_context.Logger(Name), Name, $"unable to parse csr \"{csr.Metadata.Name}\": {error.Message}");
            return null;
        }
    }

    private static V1CertificateSigningRequestStatus With(V1CertificateSigningRequestStatus? status, V1CertificateSigningRequestCondition condition) =>
        (status ?? new V1CertificateSigningRequestStatus()) with { Conditions = [.. status?.Conditions ?? [], condition] };

    private async Task CleanAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            foreach (var csr in _requests.List())
            {
                if (!CertificateRetention.IsOver(csr, _context.Time.GetUtcNow())) continue;
                try
                {
                    await _client.DeleteAsync(Resources.CertificateSigningRequests, null, csr.Metadata.Name, cancellationToken).ConfigureAwait(false);
                }
                catch (ApiException refused)
                {
                    if (!refused.IsNotFound) Log.Trouble(_context.Logger(Name), Name, $"unable to delete CSR \"{csr.Metadata.Name}\": {refused.Message}");
                }
            }
            await Task.Delay(s_cleaning, _context.Time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
