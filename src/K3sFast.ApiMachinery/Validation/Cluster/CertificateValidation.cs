using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of certificate signing requests: what is asked for, who may settle it on which path, and what was issued.</summary>
internal static class CertificateValidation
{
    private const string LegacySigner = "kubernetes.io/legacy-unknown";
    private const int MaxDomain = 253;
    private const int MaxSignerName = MaxDomain + 1 + 253 + 63 + 1; // domain/namespace.name

    private static readonly string[] s_usages =
    [
        "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature",
        "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc",
        "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping",
    ];

    private static readonly string[] s_settled = ["Approved", "Denied", "Failed"];
    private static readonly TypeSchema s_conditionType = Schema.BuiltIn.FindType("io.k8s.api.certificates.v1.CertificateSigningRequestCondition")!;

    internal static void Create(At at, ApiNode request) => All(at, request, default);

    internal static void Update(At at, ApiNode request, ApiNode old) => Change(at, request, old, mayApprove: false, mayIssue: false);

    internal static void UpdateStatus(At at, ApiNode request, ApiNode old) => Change(at, request, old, mayApprove: false, mayIssue: true);

    internal static void UpdateSubresource(At at, ApiNode request, ApiNode old, string subresource) =>
        Change(at, request, old, mayApprove: subresource == "approval", mayIssue: false);

    private static void Change(At at, ApiNode request, ApiNode old, bool mayApprove, bool mayIssue)
    {
        All(at, request, old);
        ApiNode status = request["status"u8], oldStatus = old["status"u8];
        var place = at["status"]["conditions"];
        foreach (string type in s_settled)
            if (Count(status["conditions"u8], type) < Count(oldStatus["conditions"u8], type))
                place.Forbidden($"updates may not remove a condition of type {GoText.Quote(type)}");
        if (!mayApprove)
        {
            KeepDecision(place, status, oldStatus, "Approved");
            KeepDecision(place, status, oldStatus, "Denied");
        }
        ApiNode certificate = status["certificate"u8], oldCertificate = oldStatus["certificate"u8];
        if (certificate.Utf8.SequenceEqual(oldCertificate.Utf8))
            return;
        if (!mayIssue)
            at["status"]["certificate"].Forbidden("updates may not set certificate content");
        else if (!oldCertificate.Utf8.IsEmpty)
            at["status"]["certificate"].Forbidden("updates may not modify existing certificate content");
    }

    // What is wrong with the stored object already is not held against an update.
    private static void All(At at, ApiNode request, ApiNode old)
    {
        Spec(at["spec"], request["spec"u8], old["spec"u8]);
        Conditions(at["status"]["conditions"], request["status"u8]["conditions"u8], old["status"u8]["conditions"u8]);
        string certificate = request["status"u8]["certificate"u8].AsString(), oldCertificate = old["status"u8]["certificate"u8].AsString();
        bool isTolerated = old.IsDefined && (certificate == oldCertificate || CertificateProblem(oldCertificate) is not null);
        if (!isTolerated && CertificateProblem(certificate) is { } problem)
            at["status"]["certificate"].Invalid("<certificate data>", problem);
    }

    private static void Spec(At at, ApiNode spec, ApiNode old)
    {
        if (CertificateRequestText.Problem(Decode(spec["request"u8].AsString())) is { } problem)
            at["request"].Invalid(spec["request"u8], problem);
        var usages = spec["usages"u8];
        if (usages.Count == 0)
            at["usages"].Required();
        int i = 0;
        if (!HasUnknown(old["usages"u8]))
            foreach (var usage in usages.Elements)
                at["usages"][i++].OneOf(usage, s_usages);
        if (!HasDuplicate(old["usages"u8]))
        {
            var seen = new HashSet<string>();
            i = 0;
            foreach (var usage in usages.Elements)
            {
                if (!seen.Add(usage.AsString()))
                    at["usages"][i].Duplicate(usage);
                i++;
            }
        }
        string signer = spec["signerName"u8].AsString();
        if (signer == LegacySigner && old["signerName"u8].AsString() != LegacySigner)
            at["signerName"].Invalid(signer, "the legacy signerName is not allowed via this API version");
        else
            SignerName(at["signerName"], signer);
        if (spec["expirationSeconds"u8].TryGetInt64(out long seconds) && seconds < 600)
            at["expirationSeconds"].Invalid(seconds, "may not specify a duration less than 600 seconds (10 minutes)");
    }

    private static void SignerName(At at, string name)
    {
        if (name.Length == 0)
        {
            at.Required();
            return;
        }
        var parts = name.Split('/');
        if (parts.Length != 2)
        {
            at.Invalid(name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
            return;
        }
        if (parts[0].Length > MaxDomain)
            at.TooLong(MaxDomain);
        var labels = parts[0].Split('.');
        FirstProblems(at, parts[0], labels, Format.Dns1123Label);
        if (labels.Length < 2)
            at.Invalid(parts[0], "should be a domain with at least two segments separated by dots");
        FirstProblems(at, parts[1], parts[1].Split('.'), Format.Dns1123Subdomain);
        if (name.Length > MaxSignerName)
            at.TooLong(MaxSignerName);
    }

    private static void FirstProblems(At at, string part, string[] labels, Format format)
    {
        foreach (string label in labels)
        {
            var problems = Formats.Problems(format, label);
            foreach (string problem in problems)
                at.Invalid(part, $"validating label {GoText.Quote(label)}: {problem}");
            if (problems.Count > 0)
                return;
        }
    }

    private static void Conditions(At at, ApiNode conditions, ApiNode old)
    {
        bool mayBeUnnamed = Count(old, "") > 0, mayRepeat = HasDuplicateType(old), mayContradict = Count(old, "Approved") > 0 && Count(old, "Denied") > 0;
        bool isApproved = false, isDenied = false;
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var condition in conditions.Elements)
        {
            var place = at[i++];
            string type = condition["type"u8].AsString();
            if (type.Length == 0 && !mayBeUnnamed)
                place["type"].Required();
            if (Array.IndexOf(s_settled, type) >= 0)
                place["status"].RequiredOneOf(condition["status"u8], ["True"]);
            else
                place["status"].RequiredOneOf(condition["status"u8], ["False", "True", "Unknown"]);
            isApproved |= type == "Approved";
            isDenied |= type == "Denied";
            if (!mayContradict && type is "Approved" or "Denied" && isApproved && isDenied)
                at.Invalid(type, "Approved and Denied conditions are mutually exclusive");
            if (!seen.Add(type) && !mayRepeat)
                place["type"].Duplicate(condition["type"u8]);
        }
    }

    private static void KeepDecision(At at, ApiNode status, ApiNode oldStatus, string type)
    {
        int count = Count(status["conditions"u8], type), oldCount = Count(oldStatus["conditions"u8], type);
        if (count > oldCount)
            at.Forbidden($"updates may not add a condition of type {GoText.Quote(type)}");
        if (count != oldCount)
            return;
        for (int i = 0; i < count; i++)
        {
            ApiNode now = Nth(status, type, i), before = Nth(oldStatus, type, i);
            if (!SemanticEquality.Equal(now, before, s_conditionType))
                at.Forbidden($"updates may not modify a condition of type {GoText.Quote(type)}\n- \t{before}\n+ \t{now}\n");
        }
    }

    private static ApiNode Nth(ApiNode status, string type, int index)
    {
        foreach (var condition in status["conditions"u8].Elements)
            if (condition["type"u8].AsString() == type && index-- == 0)
                return condition;
        return default;
    }

    private static int Count(ApiNode conditions, string type)
    {
        int count = 0;
        foreach (var condition in conditions.Elements)
            count += condition["type"u8].AsString() == type ? 1 : 0;
        return count;
    }

    private static bool HasDuplicateType(ApiNode conditions)
    {
        foreach (var condition in conditions.Elements)
            if (Count(conditions, condition["type"u8].AsString()) > 1)
                return true;
        return false;
    }

    private static bool HasUnknown(ApiNode usages)
    {
        foreach (var usage in usages.Elements)
            if (Array.IndexOf(s_usages, usage.AsString()) < 0)
                return true;
        return false;
    }

    private static bool HasDuplicate(ApiNode usages)
    {
        var seen = new HashSet<string>();
        foreach (var usage in usages.Elements)
            if (!seen.Add(usage.AsString()))
                return true;
        return false;
    }

    private static string? CertificateProblem(string base64)
    {
        if (base64.Length == 0)
            return null;
        string rest = Decode(base64) is { } bytes ? Encoding.Latin1.GetString(bytes) : "";
        int blocks = 0;
        for (; PemEncoding.TryFind(rest, out var block); blocks++)
        {
            string label = rest[block.Label];
            if (label != "CERTIFICATE")
                return $"only CERTIFICATE PEM blocks are allowed, found {GoText.Quote(label)}";
            try
            {
                using var certificate = X509CertificateLoader.LoadCertificate(Convert.FromBase64String(rest[block.Base64Data]));
            }
            catch (CryptographicException)
            {
                return "x509: malformed certificate";
            }
            rest = rest[block.Location.End..];
        }
        return blocks == 0 ? "must contain at least one CERTIFICATE PEM block" : null;
    }

    private static byte[]? Decode(string base64)
    {
        var buffer = new byte[base64.Length];
        return Convert.TryFromBase64String(base64, buffer, out int written) ? buffer[..written] : null;
    }
}
