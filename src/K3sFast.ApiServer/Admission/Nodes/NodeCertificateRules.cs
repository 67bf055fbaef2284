using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Certificates that a node asks for: in its own name, and for pods that really run on it.</summary>
internal sealed class NodeCertificateRules(ResourceCatalog catalog)
{
    internal static void CheckSigningRequest(AdmissionContext context, string node)
    {
        var spec = context.Object["spec"u8];
        if (context.Operation != AdmissionOperation.Create
            || spec["signerName"u8].AsString() is not ("kubernetes.io/kubelet-serving" or "kubernetes.io/kube-apiserver-client-kubelet"))
            return;
        string name;
        try
        {
            var pem = Encoding.UTF8.GetString(Convert.FromBase64String(spec["request"u8].AsString()));
            var request = CertificateRequest.LoadSigningRequestPem(pem, HashAlgorithmName.SHA256, CertificateRequestLoadOptions.SkipSignatureValidation);
            name = CommonNameOf(request.SubjectName);
        }
        catch (Exception error) when (error is FormatException or CryptographicException or ArgumentException)
        {
            throw context.Forbid("unable to parse csr: PEM block type must be CERTIFICATE REQUEST");
        }
        if (name != $"system:node:{node}")
            throw context.Forbid($"can only create a node CSR with CN=system:node:{node}");
    }

    internal void CheckPodCertificate(AdmissionContext context, string node)
    {
        if (context.Operation != AdmissionOperation.Create)
            throw context.Forbid($"unexpected operation {context.Operation.ToString().ToUpperInvariant()}");
        if (context.Subresource.Length > 0)
            throw context.Forbid($"unexpected subresource {context.Subresource}");
        var spec = context.Object["spec"u8];
        var ns = context.Namespace;
        var nodeName = spec["nodeName"u8].AsString();
        if (nodeName != node)
            throw context.Forbid($"PodCertificateRequest.Spec.NodeName={GoText.Quote(nodeName)}, which is not the requesting node {GoText.Quote(node)}");
        var pod = $"{ns}/{spec["podName"u8].AsString()}";
        CheckUid("nodes", "", nodeName, spec["nodeUID"u8].AsString(),
            $"while retrieving node {GoText.Quote(nodeName)} named in the PodCertificateRequest",
            found => $"PodCertificateRequest for pod {GoText.Quote(pod)} names node UID {GoText.Quote(spec["nodeUID"u8].Utf8)}, inconsistent with the running node ({GoText.Quote(found)})");
        CheckUid("pods", ns, spec["podName"u8].AsString(), spec["podUID"u8].AsString(),
            $"while retrieving pod {GoText.Quote(pod)} named in the PodCertificateRequest",
            found => $"PodCertificateRequest for pod {GoText.Quote(pod)} contains pod UID ({GoText.Quote(spec["podUID"u8].Utf8)}) which differs from running pod {GoText.Quote(found)}");
        var pods = catalog.Storage("", "pods");
        var account = spec["serviceAccountName"u8].AsString();
        using (var stored = pods.Get(ns, spec["podName"u8].AsString()))
        using (var document = pods.Decode(stored!))
        {
            var running = document.Root;
            if (running["spec"u8]["nodeName"u8].AsString() != nodeName)
                throw context.Forbid($"pod {GoText.Quote(pod)} is not running on node {GoText.Quote(nodeName)} named in the PodCertificateRequest");
            if (running["metadata"u8]["annotations"u8]["kubernetes.io/config.mirror"u8].IsDefined)
                throw context.Forbid($"pod {GoText.Quote(pod)} is a mirror pod");
            if (running["spec"u8]["serviceAccountName"u8].AsString() is var own && own != account)
                throw context.Forbid($"PodCertificateRequest for pod {GoText.Quote(pod)} contains serviceAccountName ({GoText.Quote(account)}) that differs from running pod ({GoText.Quote(own)})");
        }
        CheckUid("serviceaccounts", ns, account, spec["serviceAccountUID"u8].AsString(),
            $"while retrieving service account {GoText.Quote($"{ns}/{account}")} named in the PodCertificateRequest",
            found => $"PodCertificateRequest for pod {GoText.Quote(pod)} names service account UID {GoText.Quote(spec["serviceAccountUID"u8].Utf8)}, which differs from the running service account ({GoText.Quote(found)})");
    }

    // Not a refusal for ever: the node may be ahead of what this server has seen.
    private void CheckUid(string resource, string ns, string name, string uid, string retrieving, Func<string, string> differs)
    {
        using var stored = catalog.Storage("", resource).Get(ns, name)
            ?? throw ApiStatus.InternalError($"{retrieving}: {resource.TrimEnd('s')} {GoText.Quote(name)} not found").ToException();
        if (stored.Uid() != uid)
            throw ApiStatus.InternalError(differs(stored.Uid())).ToException();
    }

    private static string CommonNameOf(X500DistinguishedName subject)
    {
        var name = "";
        foreach (var part in subject.EnumerateRelativeDistinguishedNames(reversed: false))
        {
            if (!part.HasMultipleElements && part.GetSingleElementType().Value == "2.5.4.3")
                name = part.GetSingleElementValue() ?? "";
        }
        return name;
    }
}
