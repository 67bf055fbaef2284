namespace K3sFast.ApiMachinery;

/// <summary>Validation of storage kinds and of the claims that pods and stateful sets embed.</summary>
internal static class StorageValidation
{
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
        AccessModes(at["accessModes"], spec["accessModes"u8]);
        SelectorValidation.LabelSelector(at["selector"], spec["selector"u8]);
        var storage = spec["resources"u8]["requests"u8]["storage"u8];
        if (storage.IsNullOrUndefined)
            at["resources"].Key("storage").Required();
        else
            ResourceValidation.Positive(at["resources"].Key("storage"), storage);
        PodValidation.FormatWhenSet(at["storageClassName"], spec["storageClassName"u8], Format.Dns1123Subdomain);
        at["volumeMode"].OptionalOneOf(spec["volumeMode"u8], ["Block", "Filesystem"]);
        DataSource(at["dataSource"], spec["dataSource"u8]);
        DataSource(at["dataSourceRef"], spec["dataSourceRef"u8]);
        PodValidation.FormatWhenSet(at["volumeAttributesClassName"], spec["volumeAttributesClassName"u8], Format.Dns1123Subdomain);
    }

    internal static void AccessModes(At at, ApiNode modes)
    {
        if (modes.Count == 0)
            at.Required("at least 1 access mode is required");
        bool isSinglePod = false;
        foreach (var mode in modes.Elements)
        {
            at.OneOf(mode, s_accessModes);
            isSinglePod |= mode.Equals("ReadWriteOncePod"u8);
        }
        if (isSinglePod && modes.Count > 1)
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
}
