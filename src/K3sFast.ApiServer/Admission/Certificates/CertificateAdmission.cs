using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Who may act for a signer: verbs approve, sign and attest on the resource signers of certificates.k8s.io, by name or by the name's domain.</summary>
internal static class SignerPermission
{
    internal static async ValueTask<bool> HasAsync(Authorizer authorizer, UserInfo user, string verb, string signer, CancellationToken cancel)
    {
        if (await AllowsAsync(authorizer, user, verb, signer, cancel).ConfigureAwait(false))
            return true;
        var slash = signer.IndexOf('/', StringComparison.Ordinal);
        return slash > 0 && await AllowsAsync(authorizer, user, verb, signer[..slash] + "/*", cancel).ConfigureAwait(false);
    }

    private static async ValueTask<bool> AllowsAsync(Authorizer authorizer, UserInfo user, string verb, string name, CancellationToken cancel) =>
        (await authorizer.AuthorizeAsync(new AuthorizationAttributes
        {
            User = user,
            Verb = Encoding.UTF8.GetBytes(verb),
            IsResourceRequest = true,
            Group = "certificates.k8s.io"u8,
            Version = "*"u8,
            Resource = "signers"u8,
            Name = Encoding.UTF8.GetBytes(name),
        }, cancel).ConfigureAwait(false)).IsAllowed;
}

/// <summary>CertificateApproval: only who may approve for the signer approves or denies a request.</summary>
internal sealed class CertificateApproval(Authorizer authorizer) : AdmissionPlugin
{
    internal override async ValueTask ValidateAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (context.Operation != AdmissionOperation.Update || context.Subresource != "approval" || !context.Is("certificates.k8s.io", "certificatesigningrequests"))
            return;
        var signer = context.OldObject["spec"u8]["signerName"u8].AsString();
        if (!await SignerPermission.HasAsync(authorizer, context.User, "approve", signer, cancel).ConfigureAwait(false))
            throw context.Forbid($"user not permitted to approve requests with signerName {GoText.Quote(signer)}");
    }
}

/// <summary>CertificateSigning: only who may sign for the signer writes a request's certificate or conditions.</summary>
internal sealed class CertificateSigning(Authorizer authorizer) : AdmissionPlugin
{
    internal override async ValueTask ValidateAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (context.Operation != AdmissionOperation.Update || context.Subresource != "status" || !context.Is("certificates.k8s.io", "certificatesigningrequests"))
            return;
        ApiNode now = context.Object["status"u8], before = context.OldObject["status"u8];
        if (IsSame(now["certificate"u8], before["certificate"u8]) && IsSame(now["conditions"u8], before["conditions"u8]))
            return;
        var signer = context.OldObject["spec"u8]["signerName"u8].AsString();
        if (!await SignerPermission.HasAsync(authorizer, context.User, "sign", signer, cancel).ConfigureAwait(false))
            throw context.Forbid($"user not permitted to sign requests with signerName {GoText.Quote(signer)}");
    }

    private static bool IsSame(ApiNode a, ApiNode b) => a.Count == 0 && b.Count == 0 && a.Utf8.IsEmpty && b.Utf8.IsEmpty || a.DeepEquals(b);
}

/// <summary>CertificateSubjectRestriction: nobody becomes a member of system:masters by a certificate of the API server's client signer.</summary>
internal sealed class CertificateSubjectRestriction : AdmissionPlugin
{
    private const string Signer = "kubernetes.io/kube-apiserver-client";
    private const string OrganizationOid = "2.5.4.10";

    internal override void Validate(AdmissionContext context)
    {
        if (!context.IsCreate || context.Subresource.Length > 0 || !context.Is("certificates.k8s.io", "certificatesigningrequests")
            || context.Object["spec"u8]["signerName"u8].AsString() != Signer)
            return;
        IEnumerable<string> organizations;
        try
        {
            var pem = Encoding.UTF8.GetString(Convert.FromBase64String(context.Object["spec"u8]["request"u8].AsString()));
            var request = CertificateRequest.LoadSigningRequestPem(pem, HashAlgorithmName.SHA256, CertificateRequestLoadOptions.SkipSignatureValidation);
            organizations = Organizations(request.SubjectName.RawData);
        }
        catch (Exception failure) when (failure is FormatException or CryptographicException or ArgumentException or AsnContentException)
        {
            throw context.Forbid("failed to parse CSR: PEM block type must be CERTIFICATE REQUEST");
        }
        if (organizations.Contains(UserInfo.MastersGroup))
            throw context.Forbid($"use of {Signer} signer with system:masters group is not allowed");
    }

    // Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY } (RFC 5280 §4.1.2.4); a set may have several.
    private static List<string> Organizations(byte[] name)
    {
        var found = new List<string>();
        var parts = new AsnReader(name, AsnEncodingRules.DER).ReadSequence();
        while (parts.HasData)
        {
            var set = parts.ReadSetOf(skipSortOrderValidation: true);
            while (set.HasData)
            {
                var pair = set.ReadSequence();
                var type = pair.ReadObjectIdentifier();
                var tag = pair.PeekTag();
                if (type == OrganizationOid && tag.TagClass == TagClass.Universal)
                    found.Add(pair.ReadCharacterString((UniversalTagNumber)tag.TagValue));
            }
        }
        return found;
    }
}
