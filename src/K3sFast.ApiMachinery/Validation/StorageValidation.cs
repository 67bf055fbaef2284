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
        bool isBound = claim["status"u8]["phase"u8].Equals("Bound"u8);
        foreach (var field in s_claimSpecType.Fields)
        {
            bool mayChange = field.JsonName switch
            {
                "volumeName" => oldSpec["volumeName"u8].Utf8.IsEmpty,
                "storageClassName" => oldSpec["storageClassName"u8].IsNullOrUndefined,
                "volumeAttributesClassName" => isBound,
                "resources" => isBound && SemanticEquality.Equal(spec["resources"u8]["limits"u8], oldSpec["resources"u8]["limits"u8], null),
                _ => false,
            };
            if (mayChange || SemanticEquality.MemberEqual(spec, oldSpec, field.JsonNameUtf8, s_claimSpecType))
                continue;
            at["spec"].Forbidden("spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"
                + $"- \t{field.JsonName}: {oldSpec[field.JsonNameUtf8]}\n+ \t{field.JsonName}: {spec[field.JsonNameUtf8]}\n");
            break;
        }
        if (Quantity.TryParse(spec["resources"u8]["requests"u8]["storage"u8].Utf8, out var size)
            && Quantity.TryParse(oldSpec["resources"u8]["requests"u8]["storage"u8].Utf8, out var oldSize) && size.CompareTo(oldSize) < 0
            && Quantity.TryParse(old["status"u8]["capacity"u8]["storage"u8].Utf8, out var capacity) && size.CompareTo(capacity) <= 0)
            at["spec"]["resources"]["requests"]["storage"].Forbidden("field can not be less than status.capacity");
    }

    internal static void Volume(At at, ApiNode volume)
    {
        var spec = volume["spec"u8];
        at = at["spec"];
        if (spec["accessModes"u8].Count == 0)
            at["accessModes"].Required();
        else
            AccessModes(at["accessModes"], spec["accessModes"u8]);
        if (spec["capacity"u8].Count == 0)
            at["capacity"].Required();
        if (!spec["capacity"u8]["storage"u8].IsDefined || spec["capacity"u8].Count > 1)
            at.Check.Errors.AddRaw(FieldErrorType.NotSupported, at["capacity"].ToString(), spec["capacity"u8].IsDefined ? spec["capacity"u8].ToString() : "null", "supported values: \"storage\"");
        foreach (var capacity in spec["capacity"u8].Members)
        {
            if (Quantity.TryParse(capacity.Value.Utf8, out var size) && size.Value < 0)
                at["capacity"].Key(capacity).Invalid(size.Value, "must be a valid resource quantity");
            ResourceValidation.Positive(at["capacity"].Key(capacity), capacity.Value);
        }
        if (spec["persistentVolumeReclaimPolicy"u8].Equals("Recycle"u8) && IsRoot(spec["hostPath"u8]["path"u8].Utf8))
            at["persistentVolumeReclaimPolicy"].Forbidden("may not be 'recycle' for a hostPath mount of '/'");
        PodValidation.FormatWhenSet(at["storageClassName"], spec["storageClassName"u8], Format.Dns1123Subdomain);
        if (!spec["persistentVolumeReclaimPolicy"u8].Utf8.IsEmpty)
            at["persistentVolumeReclaimPolicy"].OneOf(spec["persistentVolumeReclaimPolicy"u8], ["Delete", "Recycle", "Retain"]);
        at["volumeMode"].OptionalOneOf(spec["volumeMode"u8], ["Block", "Filesystem"]);
        var affinity = spec["nodeAffinity"u8];
        if (affinity.Kind == NodeKind.Object)
        {
            if (affinity["required"u8].Kind == NodeKind.Object)
                SelectorValidation.NodeSelector(at["nodeAffinity"]["required"], affinity["required"u8]);
            else
                at["nodeAffinity"]["required"].Required("must specify required node constraints");
        }
        VolumeSource(at, spec);
    }

    internal static void VolumeUpdate(At at, ApiNode volume, ApiNode old)
    {
        Volume(at, volume);
        foreach (var source in old["spec"u8].Members)
        {
            if (!IsVolumeSource(source.Name) || SemanticEquality.MemberEqual(volume["spec"u8], old["spec"u8], source.Name, s_volumeSpecType))
                continue;
            at["spec"]["persistentvolumesource"].Forbidden("spec.persistentvolumesource is immutable after creation\n"
                + $"- \t{source.Value}\n+ \t{volume["spec"u8][source.Name]}\n");
            break;
        }
        if (!volume["spec"u8]["volumeMode"u8].Utf8.SequenceEqual(old["spec"u8]["volumeMode"u8].Utf8))
            at["volumeMode"].Invalid(volume["spec"u8]["volumeMode"u8], "field is immutable");
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
    private static readonly TypeSchema s_volumeSpecType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PersistentVolumeSpec")!;
    private static readonly TypeSchema s_storageClassType = Schema.BuiltIn.FindType("io.k8s.api.storage.v1.StorageClass")!;

    // A path of nothing but slashes and dots for the same directory.
    private static bool IsRoot(ReadOnlySpan<byte> path)
    {
        if (path.IsEmpty || path[0] != '/')
            return false;
        foreach (var range in path.Split((byte)'/'))
            if (!path[range].IsEmpty && !path[range].SequenceEqual("."u8))
                return false;
        return true;
    }

    private static bool IsVolumeSource(ReadOnlySpan<byte> name) =>
        !(name.SequenceEqual("capacity"u8) || name.SequenceEqual("accessModes"u8) || name.SequenceEqual("claimRef"u8) || name.SequenceEqual("nodeAffinity"u8)
            || name.SequenceEqual("storageClassName"u8) || name.SequenceEqual("mountOptions"u8) || name.SequenceEqual("volumeMode"u8)
            || name.SequenceEqual("persistentVolumeReclaimPolicy"u8) || name.SequenceEqual("volumeAttributesClassName"u8));

    private static void VolumeSource(At at, ApiNode spec)
    {
        int count = 0;
        foreach (var member in spec.Members)
        {
            if (!IsVolumeSource(member.Name) || member.Value.Kind != NodeKind.Object)
                continue;
            string field = System.Text.Encoding.UTF8.GetString(member.Name);
            if (count++ > 0)
            {
                at[field].Forbidden("may not specify more than 1 volume type");
                continue;
            }
            switch (field)
            {
                case "hostPath" or "local" or "nfs":
                    at[field]["path"].RequiredText(member.Value["path"u8]);
                    Paths.NoBacksteps(at[field]["path"], member.Value["path"u8]);
                    if (field == "nfs")
                        at[field]["server"].RequiredText(member.Value["server"u8]);
                    if (field == "local" && spec["nodeAffinity"u8].Kind != NodeKind.Object)
                        at["nodeAffinity"].Required("Local volume requires node affinity");
                    break;
                case "csi":
                    DriverName(at["csi"]["driver"], member.Value["driver"u8]);
                    at["csi"]["volumeHandle"].RequiredText(member.Value["volumeHandle"u8]);
                    break;
            }
        }
        if (count == 0)
            at.Required("must specify a volume type");
    }
}
