using System.Security.Cryptography.X509Certificates;

namespace K3sFast.ApiMachinery;

/// <summary>
/// What upstream warns of in objects that it accepts: deprecated fields and labels, settings without effect, names that will surprise.
/// </summary>
/// <remarks>Any thread. An object with nothing odd costs no memory.</remarks>
public static class ObjectWarnings
{
    private const string SecretsOfTokens =
        "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";

    private const string ReservedSuffix = ".static.k8s.io";

    private static readonly TypeSchema s_driverSpecType = Schema.BuiltIn.FindType("io.k8s.api.storage.v1.CSIDriverSpec")!;

    /// <summary>The warnings of a write; null when there are none. <paramref name="old"/> is undefined on create, subresource "" is the object itself.</summary>
    public static List<string>? Of(ApiNode obj, ApiNode old, ResourceInfo resource, string subresource)
    {
        var warnings = new WarningList();
        bool isCreate = !old.IsDefined;
        if (subresource == "status")
        {
            Status(ref warnings, obj, resource);
            return warnings.Items;
        }
        if (subresource.Length > 0)
            return null;
        bool isChanged = isCreate || obj["metadata"u8]["generation"u8].AsInt64() != old["metadata"u8]["generation"u8].AsInt64();
        var spec = obj["spec"u8];
        switch (resource.Group, resource.Resource)
        {
            case ("", "pods") when isCreate:
                if (!Formats.Is(Format.Dns1123Label, obj["metadata"u8]["name"u8].Utf8))
                    warnings.Add($"metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: {Problems(obj)}");
                PodWarnings.Of(ref warnings, "", spec, obj["metadata"u8]);
                break;
            case ("apiextensions.k8s.io", "customresourcedefinitions"):
                SchemaWarnings.Of(ref warnings, obj, old);
                break;
            case ("apps", "deployments" or "replicasets") or ("", "replicationcontrollers"):
                PodName(ref warnings, obj, isCreate);
                if (isChanged)
                    PodWarnings.OfTemplate(ref warnings, "spec.template.", spec["template"u8]);
                break;
            case ("apps", "daemonsets") when isChanged:
                PodWarnings.OfTemplate(ref warnings, "spec.template.", spec["template"u8]);
                break;
            case ("apps", "statefulsets"):
                if (isChanged)
                    PodWarnings.OfTemplate(ref warnings, "spec.template.", spec["template"u8]);
                int i = 0;
                foreach (var claim in spec["volumeClaimTemplates"u8].Elements)
                    PodWarnings.Claim(ref warnings, $"spec.volumeClaimTemplates[{i++}]{(isCreate ? "" : ".Spec")}", claim["spec"u8]);
                if (spec["revisionHistoryLimit"u8].TryGetInt64(out long limit) && limit < 0)
                    warnings.Add("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended");
                break;
            case ("", "podtemplates") when isChanged:
                PodWarnings.OfTemplate(ref warnings, "template.", obj["template"u8]);
                break;
            case ("batch", "jobs"):
                PodName(ref warnings, obj, isCreate);
                if (isChanged)
                    Job(ref warnings, "spec", spec);
                break;
            case ("batch", "cronjobs"):
                PodName(ref warnings, obj, isCreate);
                if (isChanged)
                    Job(ref warnings, "spec.jobTemplate.spec", spec["jobTemplate"u8]["spec"u8]);
                if (!isCreate && spec["schedule"u8].Utf8.IndexOf("TZ"u8) >= 0)
                    warnings.Add("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
                break;
            case ("", "services"):
                ServiceWarnings.Of(ref warnings, obj);
                break;
            case ("", "endpoints"):
                Endpoints(ref warnings, obj);
                break;
            case ("discovery.k8s.io", "endpointslices"):
                if (isCreate && obj["addressType"u8].Equals("FQDN"u8))
                    warnings.Add("spec.addressType: FQDN endpoints are deprecated");
                Slices(ref warnings, obj);
                break;
            case ("", "nodes"):
                Node(ref warnings, spec);
                break;
            case ("", "secrets") when obj["type"u8].Equals("kubernetes.io/tls"u8):
                KeyPair(ref warnings, obj["data"u8]);
                break;
            case ("", "serviceaccounts"):
                const string Annotation = "kubernetes.io/enforce-mountable-secrets";
                if (obj["metadata"u8]["annotations"u8]["kubernetes.io/enforce-mountable-secrets"u8].IsDefined && !old["metadata"u8]["annotations"u8]["kubernetes.io/enforce-mountable-secrets"u8].IsDefined)
                    warnings.Add($"metadata.annotations[{Annotation}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets");
                break;
            case ("", "resourcequotas") when isCreate:
                Quota(ref warnings, spec["hard"u8]);
                break;
            case ("", "persistentvolumes"):
                VolumeWarnings.Volume(ref warnings, obj);
                break;
            case ("", "persistentvolumeclaims"):
                if (obj["metadata"u8]["annotations"u8]["volume.beta.kubernetes.io/storage-class"u8].IsDefined)
                    warnings.Add("metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead");
                PodWarnings.Claim(ref warnings, "spec", spec);
                break;
            case ("storage.k8s.io", "storageclasses"):
                VolumeWarnings.Topologies(ref warnings, obj["allowedTopologies"u8]);
                break;
            case ("storage.k8s.io", "csistoragecapacities"):
                VolumeWarnings.Selector(ref warnings, "nodeTopology", obj["nodeTopology"u8]);
                break;
            case ("storage.k8s.io", "csidrivers"):
                bool isAsked = spec["tokenRequests"u8].Count > 0 && spec["serviceAccountTokenInSecrets"u8].IsNullOrUndefined;
                if (isAsked && (isCreate || !SemanticEquality.MemberEqual(spec, old["spec"u8], "tokenRequests"u8, s_driverSpecType)))
                    warnings.Add(SecretsOfTokens);
                break;
            case ("node.k8s.io", "runtimeclasses"):
                foreach (var label in obj["scheduling"u8]["nodeSelector"u8].Members)
                    if (DeprecatedLabels.Message(label.Name) is { } message)
                        warnings.Add($"scheduling.nodeSelector: {message}");
                break;
            case ("networking.k8s.io", "networkpolicies"):
                Blocks(ref warnings, "spec.ingress", spec["ingress"u8], "from");
                Blocks(ref warnings, "spec.egress", spec["egress"u8], "to");
                break;
            case ("networking.k8s.io", "ingresses") when isCreate:
                if (obj["metadata"u8]["annotations"u8]["kubernetes.io/ingress.class"u8].IsDefined && spec["ingressClassName"u8].IsNullOrUndefined)
                    warnings.Add("annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead");
                break;
            case ("resource.k8s.io", "resourceslices"):
                string driver = spec["driver"u8].AsString();
                if (driver != driver.ToLowerInvariant())
                    warnings.Add($"spec.driver: driver names should be lowercase; {GoText.Quote(driver)} contains uppercase characters");
                break;
            case ("admissionregistration.k8s.io", _) when obj["metadata"u8]["name"u8].Utf8.EndsWith(".static.k8s.io"u8):
                warnings.Add($"metadata.name: names ending with {GoText.Quote(ReservedSuffix)} are reserved for static manifest-based configurations and cannot be managed via the API");
                break;
        }
        return warnings.Items;
    }

    private static void Status(ref WarningList warnings, ApiNode obj, ResourceInfo resource)
    {
        var status = obj["status"u8];
        switch (resource.Group, resource.Resource)
        {
            case ("", "pods"):
                Ips(ref warnings, "status.podIPs", status["podIPs"u8]);
                Ips(ref warnings, "status.hostIPs", status["hostIPs"u8]);
                break;
            case ("", "services") or ("networking.k8s.io", "ingresses"):
                int i = 0;
                foreach (var ingress in status["loadBalancer"u8]["ingress"u8].Elements)
                {
                    if (!ingress["ip"u8].Utf8.IsEmpty)
                        AddressWarnings.Ip(ref warnings, $"status.loadBalancer.ingress[{i}]", ingress["ip"u8]);
                    i++;
                }
                break;
        }
    }

    private static void Ips(ref WarningList warnings, string path, ApiNode list)
    {
        int i = 0;
        foreach (var item in list.Elements)
            AddressWarnings.Ip(ref warnings, $"{path}[{i++}].ip", item["ip"u8]);
    }

    private static void PodName(ref WarningList warnings, ApiNode obj, bool isCreate)
    {
        if (isCreate && !Formats.Is(Format.Dns1123Label, obj["metadata"u8]["name"u8].Utf8))
            warnings.Add($"metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: {Problems(obj)}");
    }

    private static string Problems(ApiNode obj) => $"[{string.Join(' ', Formats.Problems(Format.Dns1123Label, obj["metadata"u8]["name"u8].AsString()))}]";

    private static void Job(ref WarningList warnings, string path, ApiNode spec)
    {
        if (spec["completionMode"u8].Equals("Indexed"u8) && spec["completions"u8].AsInt64() > 100_000 && spec["parallelism"u8].AsInt64() > 10_000)
            warnings.Add($"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail");
        PodWarnings.OfTemplate(ref warnings, path + ".template.", spec["template"u8]);
    }

    private static void Endpoints(ref WarningList warnings, ApiNode endpoints)
    {
        if (endpoints["metadata"u8]["labels"u8]["endpoints.kubernetes.io/managed-by"u8].Equals("endpoint-controller"u8))
            return;
        int i = 0;
        foreach (var subset in endpoints["subsets"u8].Elements)
        {
            Ips(ref warnings, $"subsets[{i}].addresses", subset["addresses"u8]);
            Ips(ref warnings, $"subsets[{i}].notReadyAddresses", subset["notReadyAddresses"u8]);
            i++;
        }
    }

    private static void Slices(ref WarningList warnings, ApiNode slice)
    {
        var manager = slice["metadata"u8]["labels"u8]["endpointslice.kubernetes.io/managed-by"u8];
        if (manager.Equals("endpointslice-controller.k8s.io"u8) || manager.Equals("endpointslicemirroring-controller.k8s.io"u8) || !slice["addressType"u8].Equals("IPv6"u8))
            return;
        int i = 0;
        foreach (var endpoint in slice["endpoints"u8].Elements)
        {
            int j = 0;
            foreach (var address in endpoint["addresses"u8].Elements)
                AddressWarnings.Ip(ref warnings, $"endpoints[{i}].addresses[{j++}]", address);
            i++;
        }
    }

    private static void Node(ref WarningList warnings, ApiNode spec)
    {
        if (!spec["configSource"u8].IsNullOrUndefined)
            warnings.Add("spec.configSource: the feature is removed");
        if (!spec["externalID"u8].Utf8.IsEmpty)
            warnings.Add("spec.externalID: this field is deprecated, and is unused by Kubernetes");
        int i = 0;
        foreach (var cidr in spec["podCIDRs"u8].Elements)
            AddressWarnings.Cidr(ref warnings, $"spec.podCIDRs[{i++}]", cidr);
    }

    private static void Quota(ref WarningList warnings, ApiNode hard)
    {
        foreach (string name in (ReadOnlySpan<string>)["cpu", "memory", "storage", "ephemeral-storage"])
        {
            string requestName = "requests." + name, limitName = "limits." + name;
            var request = hard[System.Text.Encoding.ASCII.GetBytes(requestName)];
            if (request.IsNullOrUndefined && name is "cpu" or "memory" && hard[System.Text.Encoding.ASCII.GetBytes(name)] is { IsNullOrUndefined: false } bare && request.IsNullOrUndefined)
                (request, requestName) = (bare, name);
            if (Quantity.TryParse(request.Utf8, out var asked) && Quantity.TryParse(hard[System.Text.Encoding.ASCII.GetBytes(limitName)].Utf8, out var limit) && asked.CompareTo(limit) > 0)
                warnings.Add($"ResourceQuota {requestName} ({asked}) should be less than {limitName} ({limit})");
        }
    }

    private static void Blocks(ref WarningList warnings, string path, ApiNode rules, string peers)
    {
        int i = 0;
        foreach (var rule in rules.Elements)
        {
            int j = 0;
            foreach (var peer in rule[System.Text.Encoding.ASCII.GetBytes(peers)].Elements)
            {
                var block = peer["ipBlock"u8];
                if (block.Kind == NodeKind.Object)
                {
                    AddressWarnings.Cidr(ref warnings, $"{path}[{i}].{peers}[{j}].ipBlock.cidr", block["cidr"u8]);
                    int k = 0;
                    foreach (var except in block["except"u8].Elements)
                        AddressWarnings.Cidr(ref warnings, $"{path}[{i}].{peers}[{j}].ipBlock.except[{k++}]", except);
                }
                j++;
            }
            i++;
        }
    }

    private static void KeyPair(ref WarningList warnings, ApiNode data)
    {
        string certificate = Text(data["tls.crt"u8]), key = Text(data["tls.key"u8]);
        if (!certificate.Contains("-----BEGIN CERTIFICATE-----", StringComparison.Ordinal))
        {
            warnings.Add("tls: failed to find any PEM data in certificate input");
            return;
        }
        if (!key.Contains("PRIVATE KEY-----", StringComparison.Ordinal))
        {
            warnings.Add("tls: failed to find any PEM data in key input");
            return;
        }
        try
        {
            X509Certificate2.CreateFromPem(certificate, key).Dispose();
        }
        catch (System.Security.Cryptography.CryptographicException)
        {
            warnings.Add("tls: failed to parse private key");
        }
        catch (ArgumentException)
        {
            warnings.Add("tls: private key does not match public key");
        }
    }

    private static string Text(ApiNode base64)
    {
        string text = base64.AsString();
        var bytes = new byte[text.Length];
        return Convert.TryFromBase64String(text, bytes, out int length) ? System.Text.Encoding.ASCII.GetString(bytes, 0, length) : "";
    }
}

/// <summary>Warnings as they are found; nothing is allocated before the first.</summary>
internal struct WarningList
{
    internal List<string>? Items { get; private set; }

    internal void Add(string text) => (Items ??= []).Add(text);
}
