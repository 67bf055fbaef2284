using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of persistent volumes, and of the volumes that stand in attachments themselves.</summary>
internal static class PersistentVolumeValidation
{
    private static readonly string[] s_hostPathTypes = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

    // The order of upstream's checks: the first source is judged, each further one refused.
    private static readonly string[] s_sources =
    [
        "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte", "cephfs", "iscsi", "cinder", "fc", "flexVolume", "azureFile",
        "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk", "scaleIO", "local", "storageos", "csi",
    ];

    private static readonly TypeSchema s_sourceType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PersistentVolumeSource")!;
    private static readonly TypeSchema s_specType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PersistentVolumeSpec")!;

    internal static void Create(At at, ApiNode volume) => Spec(at["spec"], volume["spec"u8], volume["metadata"u8]["name"u8].AsString(), isInline: false);

    internal static void Update(At at, ApiNode volume, ApiNode old)
    {
        Create(at, volume);
        var spec = volume["spec"u8];
        var oldSpec = old["spec"u8];
        if (spec["csi"u8].Kind == NodeKind.Object && oldSpec["csi"u8].Kind == NodeKind.Object && oldSpec["csi"u8]["controllerExpandSecretRef"u8].IsNullOrUndefined
            && !spec["csi"u8]["controllerExpandSecretRef"u8].IsNullOrUndefined)
        {
            // A secret for growing may come later.
            spec = spec.Document.NewObject().Set("spec"u8, spec);
            spec["csi"u8].Remove("controllerExpandSecretRef"u8);
        }
        string before = GoValue.IndentedText(oldSpec, s_sourceType), after = GoValue.IndentedText(spec, s_sourceType);
        if (before != after)
            at["spec"]["persistentvolumesource"].Forbidden($"spec.persistentvolumesource is immutable after creation\n{UnifiedDiff.Of(before, after)}");
        at["volumeMode"].ImmutableMember(spec, oldSpec, "volumeMode"u8, s_specType);
        if (!FeatureGates.Current.IsOn("MutablePVNodeAffinity") && !oldSpec["nodeAffinity"u8].IsNullOrUndefined)
            at["nodeAffinity"].ImmutableMember(spec, oldSpec, "nodeAffinity"u8, s_specType, "field is immutable, except for updating from beta label to GA");
        if (!oldSpec["volumeAttributesClassName"u8].IsNullOrUndefined && spec["volumeAttributesClassName"u8].IsNullOrUndefined)
            at["spec"]["volumeAttributesClassName"].Forbidden("update from non-nil value to nil is forbidden");
    }

    /// <summary>The spec of a volume; one that stands in an attachment is of CSI and has no place of its own.</summary>
    internal static void Spec(At at, ApiNode spec, string name, bool isInline)
    {
        const string NotInline = "may not be specified in the context of inline volumes";
        if (isInline)
        {
            if (spec["claimRef"u8].Kind == NodeKind.Object)
                at["claimRef"].Forbidden(NotInline);
            if (spec["capacity"u8].Count > 0)
                at["capacity"].Forbidden(NotInline);
            if (spec["csi"u8].Kind != NodeKind.Object)
                at["csi"].Required("has to be specified in the context of inline volumes");
        }
        if (spec["accessModes"u8].Count == 0)
            at["accessModes"].Required();
        else
            StorageValidation.AccessModes(at["accessModes"], spec["accessModes"u8]);
        if (!isInline)
            Capacity(at["capacity"], spec["capacity"u8]);
        var policy = spec["persistentVolumeReclaimPolicy"u8];
        if (isInline && !policy.Utf8.IsEmpty && !policy.Equals("Retain"u8))
            at["persistentVolumeReclaimPolicy"].Forbidden("may only be Retain in the context of inline volumes");
        else if (!isInline && !policy.Utf8.IsEmpty)
            at["persistentVolumeReclaimPolicy"].OneOf(policy, ["Delete", "Recycle", "Retain"]);
        if (spec["nodeAffinity"u8].Kind == NodeKind.Object && isInline)
            at["nodeAffinity"].Forbidden(NotInline);
        else if (spec["nodeAffinity"u8].Kind == NodeKind.Object)
            NodeAffinity(at["nodeAffinity"]["required"], spec["nodeAffinity"u8]["required"u8]);
        Sources(at, spec, name, hasAffinity: !isInline && spec["nodeAffinity"u8].Kind == NodeKind.Object);
        if (policy.Equals("Recycle"u8) && IsRoot(spec["hostPath"u8]["path"u8].Utf8))
            at["persistentVolumeReclaimPolicy"].Forbidden("may not be 'recycle' for a hostPath mount of '/'");
        if (isInline && !spec["storageClassName"u8].Utf8.IsEmpty)
            at["storageClassName"].Forbidden(NotInline);
        else
            PodValidation.FormatWhenSet(at["storageClassName"], spec["storageClassName"u8], Format.Dns1123Subdomain);
        if (!isInline)
            at["volumeMode"].OptionalOneOf(spec["volumeMode"u8], ["Block", "Filesystem"]);
        else if (!spec["volumeMode"u8].IsNullOrUndefined && !spec["volumeMode"u8].Equals("Filesystem"u8))
            at["volumeMode"].Forbidden("may not specify volumeMode other than Filesystem in the context of inline volumes");
        AttributesClass(at, spec);
    }

    private static void Capacity(At at, ApiNode capacity)
    {
        if (capacity.Count == 0)
            at.Required();
        if (!capacity["storage"u8].IsDefined || capacity.Count > 1)
            at.NotSupportedRaw(capacity.IsDefined ? capacity.ToString() : "null", "storage");
        foreach (var amount in capacity.Members)
        {
            if (Quantity.TryParse(amount.Value.Utf8, out var size) && size.Value < 0)
                at.Key(amount).Invalid(size.Value, "must be a valid resource quantity");
            ResourceValidation.Positive(at.Key(amount), amount.Value);
        }
    }

    private static void NodeAffinity(At at, ApiNode required)
    {
        if (required.Kind == NodeKind.Object)
            SelectorValidation.NodeSelector(at, required);
        else
            at.Required("must specify required node constraints");
    }

    private static void AttributesClass(At at, ApiNode spec)
    {
        var name = spec["volumeAttributesClassName"u8];
        if (name.IsNullOrUndefined)
            return;
        if (name.Utf8.IsEmpty)
            at["volumeAttributesClassName"].Required("an empty string is disallowed");
        else
            at["volumeAttributesClassName"].Format(Format.Dns1123Subdomain, name);
        if (spec["csi"u8].Kind != NodeKind.Object)
            at["csi"].Required("has to be specified when using volumeAttributesClassName");
    }

    private static void Sources(At at, ApiNode spec, string name, bool hasAffinity)
    {
        int count = 0;
        foreach (string field in s_sources)
        {
            var source = spec[Encoding.ASCII.GetBytes(field)];
            if (source.Kind != NodeKind.Object)
                continue;
            // Flex volumes are older than the rule.
            if (count++ > 0 && field != "flexVolume")
                at[field == "cephfs" ? "cephFS" : field].Forbidden("may not specify more than 1 volume type");
            else if (field == "hostPath")
                VolumeSourceRules.HostPath(at[field], source, s_hostPathTypes);
            else if (field == "local")
                Local(at, source, hasAffinity);
            else if (field == "csi")
                Csi(at[field], source);
            else
                VolumeSourceRules.Check(at[field == "gcePersistentDisk" ? "persistentDisk" : field], field, source, isPersistent: true, name);
        }
        if (count == 0)
            at.Required("must specify a volume type");
    }

    private static void Local(At at, ApiNode source, bool hasAffinity)
    {
        if (source["path"u8].Utf8.IsEmpty)
            at["local"]["path"].Required();
        else
            Paths.NoBacksteps(at["local"]["path"], source["path"u8]);
        if (!hasAffinity)
            at["nodeAffinity"].Required("Local volume requires node affinity");
    }

    private static void Csi(At at, ApiNode source)
    {
        StorageValidation.DriverName(at["driver"], source["driver"u8]);
        at["volumeHandle"].RequiredText(source["volumeHandle"u8]);
        foreach (string field in (ReadOnlySpan<string>)["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"])
        {
            var reference = source[Encoding.ASCII.GetBytes(field)];
            if (reference.Kind != NodeKind.Object)
                continue;
            Named(at[field]["name"], reference["name"u8], Format.Dns1123Subdomain);
            Named(at[field]["namespace"], reference["namespace"u8], Format.Dns1123Label);
        }
    }

    private static void Named(At at, ApiNode name, Format format)
    {
        if (name.Utf8.IsEmpty)
            at.Required();
        else
            at.Format(format, name);
    }

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
}
