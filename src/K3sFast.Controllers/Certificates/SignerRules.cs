using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>The four signers of kubernetes.io and what each signs, in upstream's words where it does not.</summary>
internal static class SignerRules
{
    internal const string ApiServerClient = "kubernetes.io/kube-apiserver-client";
    internal const string KubeletClient = "kubernetes.io/kube-apiserver-client-kubelet";
    internal const string KubeletServing = "kubernetes.io/kubelet-serving";
    internal const string LegacyUnknown = "kubernetes.io/legacy-unknown";

    /// <summary>Null when the signer may sign the request; else why not.</summary>
    internal static string? Refusal(string signer, SigningRequest request, IList<string> usages) => signer switch
    {
        ApiServerClient => ClientUsages(usages),
        KubeletClient => Kubelet(request, usages, isServing: false),
        KubeletServing => Kubelet(request, usages, isServing: true),
        // No restrictions, as it has always been; only who may approve for it is restricted.
        _ => null,
    };

    internal static bool IsApproved(V1CertificateSigningRequest csr) => Has(csr, "Approved") && !Has(csr, "Denied");

    internal static bool IsDecided(V1CertificateSigningRequest csr) => Has(csr, "Approved") || Has(csr, "Denied");

    internal static bool HasFailed(V1CertificateSigningRequest csr) =>
        csr.Status?.Conditions?.Any(static condition => condition is { Type: "Failed", Status: "True" }) == true;

    private static bool Has(V1CertificateSigningRequest csr, string type) => csr.Status?.Conditions?.Any(condition => condition.Type == type) == true;

    private static string? ClientUsages(IList<string> usages)
    {
        foreach (var usage in usages)
        {
            if (usage is not ("digital signature" or "key encipherment" or "client auth")) return $"invalid usage for client certificate: {usage}";
        }
        return usages.Contains("client auth") ? null : "missing required usage for client certificate: client auth";
    }

    private static string? Kubelet(SigningRequest request, IList<string> usages, bool isServing)
    {
        if (request.Organizations is not ["system:nodes"]) return "subject organization is not system:nodes";
        if (isServing && request.DnsNames.Count == 0 && request.Addresses.Count == 0) return "DNS or IP subjectAltName is required";
        if (!isServing && request.DnsNames.Count > 0) return "DNS subjectAltNames are not allowed";
        if (request.Emails.Count > 0) return "Email subjectAltNames are not allowed";
        if (!isServing && request.Addresses.Count > 0) return "IP subjectAltNames are not allowed";
        if (request.Uris.Count > 0) return "URI subjectAltNames are not allowed";
        var hasName = request.CommonName.StartsWith("system:node:", StringComparison.Ordinal);
        // Upstream looks at the name before the usages of a client, and after those of a server.
        if (!isServing && !hasName) return "subject common name does not begin with system:node:";
        string[] wanted = [isServing ? "server auth" : "client auth", "digital signature", "key encipherment"];
        var given = usages.ToHashSet();
        if (!given.SetEquals(wanted) && !given.SetEquals(wanted[..2])) return $"usages did not match [{string.Join(' ', wanted.Order(StringComparer.Ordinal))}]";
        return hasName ? null : "subject common name does not begin with system:node:";
    }
}
