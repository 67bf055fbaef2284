namespace K3sFast.ApiMachinery;

internal static partial class TableRows
{
    private static void Ingress(ref TableCells cells, ApiNode ingress)
    {
        var spec = ingress["spec"u8];
        var hosts = new List<string>();
        int seen = 0;
        foreach (var rule in spec["rules"u8].Elements)
        {
            if (hosts.Count < 3 && !rule["host"u8].Utf8.IsEmpty)
                hosts.Add(rule["host"u8].AsString());
            else if (hosts.Count == 3)
                seen++;
        }
        cells.Name(ingress);
        cells.TextOr(spec["ingressClassName"u8], "<none>"u8);
        string shown = string.Join(',', hosts);
        cells.Text(hosts.Count == 0 ? "*" : seen > 0 ? $"{shown} + {spec["rules"u8].Count - 3} more..." : shown);
        cells.Text(LoadBalancerAddresses(ingress["status"u8]));
        cells.Text(spec["tls"u8].Count > 0 ? "80, 443" : "80");
        cells.Age(ingress);
    }

    private static void IngressClass(ref TableCells cells, ApiNode ingressClass)
    {
        var parameters = ingressClass["spec"u8]["parameters"u8];
        cells.Text(NameWithDefault(ingressClass, "ingressclass.kubernetes.io/is-default-class"u8));
        cells.Text(ingressClass["spec"u8]["controller"u8]);
        if (parameters.Kind != NodeKind.Object)
            cells.Text("<none>"u8);
        else if (parameters["apiGroup"u8].IsNullOrUndefined)
            cells.Text($"{parameters["kind"u8].AsString()}/{parameters["name"u8].AsString()}");
        else
            cells.Text($"{parameters["kind"u8].AsString()}.{parameters["apiGroup"u8].AsString()}/{parameters["name"u8].AsString()}");
        cells.Age(ingressClass);
    }

    private static string NameWithDefault(ApiNode obj, ReadOnlySpan<byte> annotation)
    {
        string name = obj["metadata"u8]["name"u8].AsString();
        return obj["metadata"u8]["annotations"u8][annotation].Equals("true"u8) ? name + " (default)" : name;
    }

    private static void NetworkPolicy(ref TableCells cells, ApiNode policy)
    {
        cells.Name(policy);
        cells.Text(FormatSelector(policy["spec"u8]["podSelector"u8], "<none>"));
        cells.Age(policy);
    }

    private static void ServiceCidr(ref TableCells cells, ApiNode cidr)
    {
        cells.Name(cidr);
        cells.Text(Join(cidr["spec"u8]["cidrs"u8]));
        cells.Age(cidr);
    }

    // Upstream's rows have one cell more than there are columns; kept, clients ignore it.
    private static void IPAddress(ref TableCells cells, ApiNode address)
    {
        var parent = address["spec"u8]["parentRef"u8];
        cells.Name(address);
        if (parent.Kind != NodeKind.Object)
        {
            cells.Text("<none>"u8);
        }
        else
        {
            string group = parent["group"u8].AsString();
            string resource = parent["resource"u8].AsString();
            string ns = parent["namespace"u8].AsString();
            string text = (group.Length == 0 ? resource : $"{resource}.{group}").ToLowerInvariant();
            cells.Text($"{text}{(ns.Length == 0 ? "" : "/" + ns)}/{parent["name"u8].AsString()}");
        }
        cells.Age(address);
    }

    private static void Lease(ref TableCells cells, ApiNode lease)
    {
        cells.Name(lease);
        cells.Text(lease["spec"u8]["holderIdentity"u8]);
        cells.Age(lease);
    }

    private static void LeaseCandidate(ref TableCells cells, ApiNode candidate)
    {
        cells.Name(candidate);
        cells.Text(candidate["spec"u8]["leaseName"u8]);
        cells.Text(candidate["spec"u8]["binaryVersion"u8]);
        cells.Text(candidate["spec"u8]["emulationVersion"u8]);
        cells.Age(candidate);
    }

    private static void PodDisruptionBudget(ref TableCells cells, ApiNode budget)
    {
        cells.Name(budget);
        cells.TextOr(budget["spec"u8]["minAvailable"u8], "N/A"u8);
        cells.TextOr(budget["spec"u8]["maxUnavailable"u8], "N/A"u8);
        cells.Number(budget["status"u8]["disruptionsAllowed"u8]);
        cells.Age(budget);
    }

    private static void PriorityClass(ref TableCells cells, ApiNode priorityClass)
    {
        cells.Name(priorityClass);
        cells.Number(priorityClass["value"u8]);
        cells.Boolean(priorityClass["globalDefault"u8].AsBool());
        cells.Age(priorityClass);
        cells.Text(priorityClass["preemptionPolicy"u8]);
    }

    private static void RuntimeClass(ref TableCells cells, ApiNode runtimeClass)
    {
        cells.Name(runtimeClass);
        cells.Text(runtimeClass["handler"u8]);
        cells.Age(runtimeClass);
    }

    private static void RoleBinding(ref TableCells cells, ApiNode binding)
    {
        cells.Name(binding);
        cells.Text($"{binding["roleRef"u8]["kind"u8].AsString()}/{binding["roleRef"u8]["name"u8].AsString()}");
        cells.Age(binding);
        var users = new List<string>();
        var groups = new List<string>();
        var accounts = new List<string>();
        foreach (var subject in binding["subjects"u8].Elements)
        {
            string name = subject["name"u8].AsString();
            if (subject["kind"u8].Equals("User"u8))
                users.Add(name);
            else if (subject["kind"u8].Equals("Group"u8))
                groups.Add(name);
            else if (subject["kind"u8].Equals("ServiceAccount"u8))
                accounts.Add($"{subject["namespace"u8].AsString()}/{name}");
        }
        cells.Text(string.Join(", ", users));
        cells.Text(string.Join(", ", groups));
        cells.Text(string.Join(", ", accounts));
    }

    private static void CertificateSigningRequest(ref TableCells cells, ApiNode request)
    {
        var spec = request["spec"u8];
        cells.Name(request);
        cells.Age(request);
        cells.TextOr(spec["signerName"u8], "<none>"u8);
        cells.Text(spec["username"u8]);
        cells.Text(spec["expirationSeconds"u8].TryGetInt64(out long seconds) ? TableCells.HumanDuration(TimeSpan.FromSeconds(seconds)) : "<none>");
        bool isDenied = Condition(request, "Denied"u8).IsDefined;
        bool isApproved = Condition(request, "Approved"u8).IsDefined;
        string status = isDenied ? "Denied" : isApproved ? "Approved" : "Pending";
        if (Condition(request, "Failed"u8).IsDefined)
            status += ",Failed";
        if (!request["status"u8]["certificate"u8].Utf8.IsEmpty)
            status += ",Issued";
        cells.Text(status);
    }

    private static void ClusterTrustBundle(ref TableCells cells, ApiNode bundle)
    {
        cells.Name(bundle);
        cells.TextOr(bundle["spec"u8]["signerName"u8], "<none>"u8);
    }

    private static void StorageClass(ref TableCells cells, ApiNode storageClass)
    {
        bool isDefault = storageClass["metadata"u8]["annotations"u8]["storageclass.kubernetes.io/is-default-class"u8].Equals("true"u8);
        cells.Text(isDefault ? storageClass["metadata"u8]["name"u8].AsString() + " (default)"
            : NameWithDefault(storageClass, "storageclass.beta.kubernetes.io/is-default-class"u8));
        cells.Text(storageClass["provisioner"u8]);
        cells.TextOr(storageClass["reclaimPolicy"u8], "Delete"u8);
        cells.TextOr(storageClass["volumeBindingMode"u8], "Immediate"u8);
        cells.Boolean(storageClass["allowVolumeExpansion"u8].AsBool());
        cells.Age(storageClass);
    }

    private static void VolumeAttachment(ref TableCells cells, ApiNode attachment)
    {
        var spec = attachment["spec"u8];
        cells.Name(attachment);
        cells.Text(spec["attacher"u8]);
        cells.Text(spec["source"u8]["persistentVolumeName"u8]);
        cells.Text(spec["nodeName"u8]);
        cells.Boolean(attachment["status"u8]["attached"u8].AsBool());
        cells.Age(attachment);
    }

    private static void CsiDriver(ref TableCells cells, ApiNode driver)
    {
        var spec = driver["spec"u8];
        cells.Name(driver);
        cells.Boolean(spec["attachRequired"u8].AsBool(fallback: true));
        cells.Boolean(spec["podInfoOnMount"u8].AsBool());
        cells.Boolean(spec["storageCapacity"u8].AsBool());
        var audiences = new List<string>();
        foreach (var token in spec["tokenRequests"u8].Elements)
            audiences.Add(token["audience"u8].AsString());
        cells.Text(spec["tokenRequests"u8].IsNullOrUndefined ? "<unset>" : string.Join(',', audiences));
        cells.Boolean(spec["requiresRepublish"u8].AsBool());
        string modes = Join(spec["volumeLifecycleModes"u8]);
        cells.Text(modes.Length == 0 ? "<none>" : modes);
        cells.Age(driver);
    }

    private static void CsiNode(ref TableCells cells, ApiNode node)
    {
        cells.Name(node);
        cells.Number(node["spec"u8]["drivers"u8].Count);
        cells.Age(node);
    }

    private static void VolumeAttributesClass(ref TableCells cells, ApiNode attributesClass)
    {
        cells.Name(attributesClass);
        cells.Text(attributesClass["driverName"u8]);
        cells.Age(attributesClass);
    }

    private static void FlowSchema(ref TableCells cells, ApiNode schema)
    {
        var spec = schema["spec"u8];
        cells.Name(schema);
        cells.Text(spec["priorityLevelConfiguration"u8]["name"u8]);
        cells.Number(spec["matchingPrecedence"u8]);
        cells.TextOr(spec["distinguisherMethod"u8]["type"u8], "<none>"u8);
        cells.Age(schema);
        cells.TextOr(Condition(schema, "Dangling"u8)["status"u8], "?"u8);
    }

    private static void PriorityLevelConfiguration(ref TableCells cells, ApiNode level)
    {
        var spec = level["spec"u8];
        var queuing = spec["limited"u8]["limitResponse"u8]["queuing"u8];
        cells.Name(level);
        cells.Text(spec["type"u8]);
        NumberOrNone(ref cells, spec["limited"u8]["nominalConcurrencyShares"u8]);
        NumberOrNone(ref cells, queuing["queues"u8]);
        NumberOrNone(ref cells, queuing["handSize"u8]);
        NumberOrNone(ref cells, queuing["queueLengthLimit"u8]);
        cells.Age(level);
    }

    private static void NumberOrNone(ref TableCells cells, ApiNode value)
    {
        if (value.TryGetInt64(out long number))
            cells.Number(number);
        else
            cells.Text("<none>"u8);
    }

    private static void WebhookConfiguration(ref TableCells cells, ApiNode configuration)
    {
        cells.Name(configuration);
        cells.Number(configuration["webhooks"u8].Count);
        cells.Age(configuration);
    }

    private static void MutatingAdmissionPolicy(ref TableCells cells, ApiNode policy) => AdmissionPolicy(ref cells, policy, policy["spec"u8]["mutations"u8].Count);

    private static void ValidatingAdmissionPolicy(ref TableCells cells, ApiNode policy) => AdmissionPolicy(ref cells, policy, policy["spec"u8]["validations"u8].Count);

    private static void AdmissionPolicy(ref TableCells cells, ApiNode policy, int count)
    {
        var kind = policy["spec"u8]["paramKind"u8];
        cells.Name(policy);
        cells.Number(count);
        cells.Text(kind.Kind == NodeKind.Object ? $"{kind["apiVersion"u8].AsString()}/{kind["kind"u8].AsString()}" : "<unset>");
        cells.Age(policy);
    }

    private static void AdmissionPolicyBinding(ref TableCells cells, ApiNode binding)
    {
        var parameters = binding["spec"u8]["paramRef"u8];
        string text = "<unset>";
        if (!parameters["name"u8].Utf8.IsEmpty)
            text = $"{(parameters["namespace"u8].Utf8.IsEmpty ? "*" : parameters["namespace"u8].AsString())}/{parameters["name"u8].AsString()}";
        else if (parameters["selector"u8].Kind == NodeKind.Object)
            text = FormatSelector(parameters["selector"u8], "");
        cells.Name(binding);
        cells.Text(binding["spec"u8]["policyName"u8]);
        cells.Text(text);
        cells.Age(binding);
    }

    private static void ApiService(ref TableCells cells, ApiNode service)
    {
        var reference = service["spec"u8]["service"u8];
        var available = Condition(service, "Available"u8);
        cells.Name(service);
        cells.Text(reference.Kind == NodeKind.Object ? $"{reference["namespace"u8].AsString()}/{reference["name"u8].AsString()}" : "Local");
        cells.Text(!available.IsDefined ? "Unknown"
            : available["status"u8].Equals("True"u8) ? "True"
            : $"{available["status"u8].AsString()} ({available["reason"u8].AsString()})");
        cells.Age(service);
    }

    private static void ResourceClaim(ref TableCells cells, ApiNode claim)
    {
        bool isDeleted = !claim["metadata"u8]["deletionTimestamp"u8].IsNullOrUndefined;
        bool isAllocated = claim["status"u8]["allocation"u8].Kind == NodeKind.Object;
        var states = new List<string>();
        if (isDeleted)
            states.Add("deleted");
        if (isAllocated)
            states.Add("allocated");
        else if (!isDeleted)
            states.Add("pending");
        if (isAllocated && claim["status"u8]["reservedFor"u8].Count > 0)
            states.Add("reserved");
        cells.Name(claim);
        cells.Text(string.Join(',', states));
        cells.Age(claim);
    }

    private static void ResourceSlice(ref TableCells cells, ApiNode slice)
    {
        cells.Name(slice);
        cells.Text(slice["spec"u8]["nodeName"u8]);
        cells.Text(slice["spec"u8]["driver"u8]);
        cells.Text(slice["spec"u8]["pool"u8]["name"u8]);
        cells.Age(slice);
    }
}
