namespace K3sFast.ApiMachinery;

/// <summary>Validation of storage kinds and of the claims that pods and stateful sets embed.</summary>
internal static class StorageValidation
{
    private const int MaxParameters = 512;
    private const int MaxParameterBytes = 256 * 1024;

    private static readonly string[] s_accessModes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

    /// <summary>The name of a CSI driver: a DNS name in any case, of at most 63 characters.</summary>
    internal static void DriverName(At at, ApiNode name)
    {
        if (name.Utf8.IsEmpty)
        {
            at.Required();
            return;
        }
        if (name.Utf8.Length > 63)
            at.TooLong(63);
        string text = name.AsString();
        foreach (var problem in Formats.Problems(Format.Dns1123Subdomain, text.ToLowerInvariant()))
            at.Invalid(text, problem);
    }

    /// <summary>The spec of a claim or of a claim template.</summary>
    internal static void ClaimSpec(At at, ApiNode spec)
    {
        if (spec["accessModes"u8].Count == 0)
            at["accessModes"].Required("at least 1 access mode is required");
        SelectorValidation.LabelSelector(at["selector"], spec["selector"u8]);
        AccessModes(at["accessModes"], spec["accessModes"u8]);
        var storage = spec["resources"u8]["requests"u8]["storage"u8];
        if (storage.IsNullOrUndefined)
            at["resources"].Key("storage").Required();
        else
            ResourceValidation.Positive(at["resources"].Key("storage"), storage);
        PodValidation.FormatWhenSet(at["storageClassName"], spec["storageClassName"u8], Format.Dns1123Subdomain);
        at["volumeMode"].OptionalOneOf(spec["volumeMode"u8], ["Block", "Filesystem"]);
        DataSource(at["dataSource"], spec["dataSource"u8]);
        DataSource(at["dataSourceRef"], spec["dataSourceRef"u8]);
        SameSource(at, spec["dataSource"u8], spec["dataSourceRef"u8]);
        PodValidation.FormatWhenSet(at["volumeAttributesClassName"], spec["volumeAttributesClassName"u8], Format.Dns1123Subdomain);
    }

    internal static void AccessModes(At at, ApiNode modes)
    {
        bool isSinglePod = false, isShared = false;
        foreach (var mode in modes.Elements)
        {
            at.OneOf(mode, s_accessModes);
            bool isForOne = mode.Equals("ReadWriteOncePod"u8);
            isSinglePod |= isForOne;
            isShared |= !isForOne && Array.IndexOf(s_accessModes, mode.AsString()) >= 0;
        }
        if (isSinglePod && isShared)
            at.Forbidden("may not use ReadWriteOncePod with other access modes");
    }

    private static void DataSource(At at, ApiNode source)
    {
        if (source.Kind != NodeKind.Object)
            return;
        at["name"].RequiredText(source["name"u8]);
        at["kind"].RequiredText(source["kind"u8]);
        if (source["apiGroup"u8].Utf8.IsEmpty && !source["kind"u8].Equals("PersistentVolumeClaim"u8))
            at.Invalid(source["kind"u8].AsString(), "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    }

    // The two say the same, but that only the newer can name another namespace. Upstream's message shows a path as an empty object.
    private static void SameSource(At at, ApiNode source, ApiNode reference)
    {
        if (source.Kind != NodeKind.Object || reference.Kind != NodeKind.Object)
            return;
        string? problem = null;
        if (!reference["namespace"u8].Utf8.IsEmpty)
            problem = "may not be specified when dataSourceRef.namespace is specified";
        else if (!source["apiGroup"u8].Utf8.SequenceEqual(reference["apiGroup"u8].Utf8) || !source["kind"u8].Utf8.SequenceEqual(reference["kind"u8].Utf8)
            || !source["name"u8].Utf8.SequenceEqual(reference["name"u8].Utf8))
            problem = "must match dataSourceRef";
        if (problem is not null)
            at.Check.Errors.AddRaw(FieldErrorType.Invalid, at.ToString(), "{}", problem);
    }

    internal static void Claim(At at, ApiNode claim) => ClaimSpec(at["spec"], claim["spec"u8]);

    internal static void ClaimUpdate(At at, ApiNode claim, ApiNode old)
    {
        Claim(at, claim);
        var spec = claim["spec"u8];
        var oldSpec = old["spec"u8];
        var wanted = spec.Document.NewObject().Set("spec"u8, spec);
        var stored = spec.Document.NewObject().Set("spec"u8, oldSpec);
        if (oldSpec["volumeName"u8].Utf8.IsEmpty)
            Take(stored, spec, "volumeName"u8);
        if (oldSpec["storageClassName"u8].IsNullOrUndefined)
            Take(wanted, oldSpec, "storageClassName"u8);
        if (claim["status"u8]["phase"u8].Equals("Bound"u8))
        {
            if (wanted["resources"u8]["requests"u8].Kind == NodeKind.Object)
                Take(wanted["resources"u8]["requests"u8], oldSpec["resources"u8]["requests"u8], "storage"u8);
            Take(wanted, oldSpec, "volumeAttributesClassName"u8);
        }
        if (!SemanticEquality.Equal(wanted, stored, s_claimSpecType))
            at["spec"].Forbidden("spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"
                + UnifiedDiff.Of(GoValue.IndentedText(stored, s_claimSpecType), GoValue.IndentedText(wanted, s_claimSpecType)));
        Quantity.TryParse(spec["resources"u8]["requests"u8]["storage"u8].Utf8, out var size);
        Quantity.TryParse(oldSpec["resources"u8]["requests"u8]["storage"u8].Utf8, out var oldSize);
        Quantity.TryParse(old["status"u8]["capacity"u8]["storage"u8].Utf8, out var capacity);
        if (size < oldSize && size <= capacity)
            at["spec"]["resources"]["requests"]["storage"].Forbidden("field can not be less than status.capacity");
        at["volumeMode"].ImmutableMember(spec, oldSpec, "volumeMode"u8, s_claimSpecType);
        var attributes = spec["volumeAttributesClassName"u8];
        if (old["status"u8]["currentVolumeAttributesClassName"u8].IsNullOrUndefined || SemanticEquality.MemberEqual(spec, oldSpec, "volumeAttributesClassName"u8, s_claimSpecType))
            return;
        if (attributes.IsNullOrUndefined)
            at["spec"]["volumeAttributesClassName"].Forbidden("update to nil is forbidden when status.currentVolumeAttributesClassName is not nil");
        else if (attributes.Utf8.IsEmpty)
            at["spec"]["volumeAttributesClassName"].Forbidden("update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil");
    }

    internal static void ClaimStatus(At at, ApiNode claim, ApiNode old)
    {
        var status = claim["status"u8];
        foreach (var amount in status["capacity"u8].Members)
            Basic(at["status"]["capacity"].Key(amount), amount.Value);
        foreach (var state in status["allocatedResourceStatuses"u8].Members)
        {
            ResourceKey(at["status"]["allocatedResourceStatuses"], state.Name);
            if (Array.IndexOf(s_resizeStates, state.Value.AsString()) < 0)
                at.Check.Errors.NotSupported("status.allocatedResourceStatuses", System.Text.Encoding.UTF8.GetString(state.Name), s_resizeStates);
        }
        foreach (var amount in status["allocatedResources"u8].Members)
        {
            if (!ResourceKey(at["status"]["allocatedResources"], amount.Name))
                continue;
            if (Basic(at["status"]["allocatedResources"].Key(amount), amount.Value))
                ResourceValidation.QuantityValue(at["status"]["allocatedResources"].Key(amount), "storage"u8, amount.Value);
        }
    }

    private static bool Basic(At at, ApiNode amount)
    {
        if (!Quantity.TryParse(amount.Utf8, out var quantity) || quantity.Value >= 0)
            return true;
        at.Invalid(quantity.Value, "must be a valid resource quantity");
        return false;
    }

    private static bool ResourceKey(At at, ReadOnlySpan<byte> name)
    {
        string text = System.Text.Encoding.UTF8.GetString(name);
        if (!Formats.Is(Format.LabelKey, name))
        {
            at.Format(Format.LabelKey, text);
            return false;
        }
        if (!ResourceValidation.IsNative(name) || text == "storage")
            return true;
        at.Check.Errors.NotSupported(at.ToString(), text, "storage");
        return false;
    }

    private static void Take(ApiNode to, ApiNode from, ReadOnlySpan<byte> name)
    {
        if (from[name].IsNullOrUndefined)
            to.Remove(name);
        else
            to.Set(name, from[name]);
    }

    internal static void StorageClass(At at, ApiNode storageClass)
    {
        Provisioner(at["provisioner"], storageClass["provisioner"u8]);
        Parameters(at["parameters"], storageClass["parameters"u8]);
        if (!storageClass["reclaimPolicy"u8].Utf8.IsEmpty)
            at["reclaimPolicy"].OneOf(storageClass["reclaimPolicy"u8], ["Delete", "Retain"]);
        if (storageClass["volumeBindingMode"u8].IsNullOrUndefined)
            at["volumeBindingMode"].Required();
        else
            at["volumeBindingMode"].OneOf(storageClass["volumeBindingMode"u8], ["Immediate", "WaitForFirstConsumer"]);
        AllowedTopologies(at["allowedTopologies"], storageClass["allowedTopologies"u8]);
    }

    internal static void StorageClassUpdate(At at, ApiNode storageClass, ApiNode old)
    {
        StorageClass(at, storageClass);
        foreach (string field in (ReadOnlySpan<string>)["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"])
            at[field].ImmutableMember(storageClass, old, System.Text.Encoding.ASCII.GetBytes(field), s_storageClassType);
    }

    /// <summary>The name of a provisioner: a qualified name in any case.</summary>
    internal static void Provisioner(At at, ApiNode name)
    {
        if (name.Utf8.IsEmpty)
            at.Required();
        else
            at.Format(Format.LabelKey, name.AsString().ToLowerInvariant());
    }

    /// <summary>Parameters for a driver: bounded in number and size.</summary>
    internal static void Parameters(At at, ApiNode parameters)
    {
        if (parameters.Count > MaxParameters)
        {
            at.TooLong(MaxParameters);
            return;
        }
        int size = 0;
        foreach (var parameter in parameters.Members)
        {
            if (parameter.Name.IsEmpty)
                at.Invalid("", "field can not be empty.");
            size += parameter.Name.Length + parameter.Value.Utf8.Length;
        }
        if (size > MaxParameterBytes)
            at.TooLong(MaxParameterBytes);
    }

    private static void AllowedTopologies(At at, ApiNode topologies)
    {
        var known = new HashSet<string>();
        int i = 0;
        foreach (var topology in topologies.Elements)
        {
            var place = at[i++]["matchLabelExpressions"];
            var terms = new SortedDictionary<string, string>(StringComparer.Ordinal);
            int j = 0;
            foreach (var expression in topology["matchLabelExpressions"u8].Elements)
            {
                var term = place[j++];
                var values = new SortedSet<string>(StringComparer.Ordinal);
                if (expression["values"u8].Count == 0)
                    term["values"].Required();
                int k = 0;
                foreach (var value in expression["values"u8].Elements)
                {
                    if (!values.Add(value.AsString()))
                        term["values"][k].Duplicate(value);
                    k++;
                }
                term["key"].Format(Format.LabelKey, expression["key"u8].AsString());
                if (!terms.TryAdd(expression["key"u8].AsString(), string.Join('\n', values)))
                    term["key"].Duplicate(expression["key"u8]);
            }
            if (!known.Add(string.Join('\0', terms)))
                place.Duplicate("");
        }
    }

    private static readonly TypeSchema s_claimSpecType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PersistentVolumeClaimSpec")!;
    private static readonly string[] s_resizeStates = ["ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"];
    private static readonly TypeSchema s_storageClassType = Schema.BuiltIn.FindType("io.k8s.api.storage.v1.StorageClass")!;
}
