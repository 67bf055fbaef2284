using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of metadata, the same for every kind but for the format of names.</summary>
internal static class ObjectMetaValidation
{
    // 256 KiB over keys and values: upstream's bound on annotations.
    private const int MaxAnnotationBytes = 256 * 1024;

    private static readonly string[] s_operations = ["Apply", "Update"];

    /// <summary>Validates the metadata of a new object.</summary>
    internal static void Create(At at, ApiNode metadata, ResourceInfo resource, Format nameFormat)
    {
        var name = metadata["name"u8];
        var generateName = metadata["generateName"u8];
        if (!generateName.Utf8.IsEmpty)
        {
            string prefix = generateName.AsString();
            string masked = nameFormat == Format.PathSegment ? (prefix is "." or ".." ? "a" : prefix) : Formats.MaskTrailingDash(prefix);
            foreach (var problem in Formats.Problems(nameFormat, masked))
                at["generateName"].Invalid(prefix, problem);
        }
        if (name.Utf8.IsEmpty)
            at["name"].Required("name or generateName is required");
        else
            at["name"].Format(nameFormat, name);
        var ns = metadata["namespace"u8];
        if (resource.Namespaced)
        {
            if (ns.Utf8.IsEmpty)
                at["namespace"].Required();
            else
                at["namespace"].Format(Format.Dns1123Label, ns);
        }
        else if (!ns.Utf8.IsEmpty)
        {
            at["namespace"].Forbidden("not allowed on this type");
        }
        at["generation"].NonNegative(metadata["generation"u8]);
        Common(at, metadata);
        Finalizers(at["finalizers"], metadata["finalizers"u8]);
        ManagedFields(at["managedFields"], metadata["managedFields"u8]);
    }

    /// <summary>Validates the metadata of an update against the stored object's.</summary>
    internal static void Update(At at, ApiNode metadata, ApiNode old)
    {
        if (!old["deletionTimestamp"u8].IsNullOrUndefined)
            NoNewFinalizers(at["finalizers"], metadata["finalizers"u8], old["finalizers"u8]);
        if (metadata["resourceVersion"u8].Utf8.IsEmpty)
            at["resourceVersion"].Invalid("", "must be specified for an update");
        if (metadata["generation"u8].AsInt64() < old["generation"u8].AsInt64())
            at["generation"].Invalid(metadata["generation"u8].AsInt64(), "must not be decremented");
        Same(at["name"], metadata["name"u8], old["name"u8]);
        Same(at["namespace"], metadata["namespace"u8], old["namespace"u8]);
        Same(at["uid"], metadata["uid"u8], old["uid"u8]);
        Same(at["creationTimestamp"], metadata["creationTimestamp"u8], old["creationTimestamp"u8]);
        Same(at["deletionTimestamp"], metadata["deletionTimestamp"u8], old["deletionTimestamp"u8]);
        if (metadata["deletionGracePeriodSeconds"u8].AsInt64(-1) != old["deletionGracePeriodSeconds"u8].AsInt64(-1))
            at["deletionGracePeriodSeconds"].Invalid(metadata["deletionGracePeriodSeconds"u8], "field is immutable");
        Common(at, metadata);
        Finalizers(at["finalizers"], metadata["finalizers"u8]);
        ManagedFields(at["managedFields"], metadata["managedFields"u8]);
    }

    /// <summary>Label keys and values, reported at the map itself.</summary>
    internal static void Labels(At at, ApiNode labels)
    {
        foreach (var label in labels.Members)
        {
            if (!Formats.Is(Format.LabelKey, label.Name))
                at.Format(Format.LabelKey, Encoding.UTF8.GetString(label.Name));
            if (!Formats.Is(Format.LabelValue, label.Value.Utf8))
                at.Format(Format.LabelValue, label.Value.AsString());
        }
    }

    /// <summary>Annotation keys and the size of them all.</summary>
    internal static void Annotations(At at, ApiNode annotations)
    {
        int size = 0;
        foreach (var annotation in annotations.Members)
        {
            size += annotation.Name.Length + annotation.Value.Utf8.Length;
            if (Formats.Is(Format.LabelKey, annotation.Name))
                continue;
            // The prefix may be written in capitals, which labels do not allow.
            string key = Encoding.UTF8.GetString(annotation.Name);
            foreach (var problem in Formats.Problems(Format.LabelKey, key.ToLowerInvariant()))
                at.Invalid(key, problem);
        }
        if (size > MaxAnnotationBytes)
            at.TooLong(MaxAnnotationBytes);
    }

    private static void Common(At at, ApiNode metadata)
    {
        Labels(at["labels"], metadata["labels"u8]);
        Annotations(at["annotations"], metadata["annotations"u8]);
        OwnerReferences(at["ownerReferences"], metadata["ownerReferences"u8]);
    }

    private static void Same(At at, ApiNode value, ApiNode old)
    {
        if (!value.Utf8.SequenceEqual(old.Utf8))
            at.Invalid(value, "field is immutable");
    }

    private static void OwnerReferences(At at, ApiNode references)
    {
        string controller = "";
        foreach (var reference in references.Elements)
        {
            string apiVersion = reference["apiVersion"u8].AsString();
            if (apiVersion.Length == 0 || apiVersion.EndsWith('/') || apiVersion.AsSpan().Count('/') > 1)
                at["apiVersion"].Invalid(apiVersion, "version must not be empty");
            MustBeSet(at["kind"], reference["kind"u8]);
            MustBeSet(at["name"], reference["name"u8]);
            MustBeSet(at["uid"], reference["uid"u8]);
            if (apiVersion == "v1" && reference["kind"u8].Equals("Event"u8))
                at.Invalid(reference, "/v1, Kind=Event is disallowed from being an owner");
            if (!reference["controller"u8].AsBool())
                continue;
            string current = $"{reference["kind"u8].AsString()}/{reference["name"u8].AsString()}";
            if (controller.Length > 0)
                at.Invalid(references, $"Only one reference can have Controller set to true. Found \"true\" in references for {controller} and {current}");
            else
                controller = current;
        }
    }

    private static void MustBeSet(At at, ApiNode value)
    {
        if (value.Utf8.IsEmpty)
            at.Invalid("", "must not be empty");
    }

    private static void Finalizers(At at, ApiNode finalizers)
    {
        bool hasOrphan = false, hasForeground = false;
        int i = 0;
        foreach (var finalizer in finalizers.Elements)
        {
            at.Format(Format.LabelKey, finalizer);
            StandardFinalizer(at[i++], finalizer);
            hasOrphan |= finalizer.Equals("orphan"u8);
            hasForeground |= finalizer.Equals("foregroundDeletion"u8);
        }
        if (hasOrphan && hasForeground)
            at.Invalid(finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
    }

    private static void NoNewFinalizers(At at, ApiNode finalizers, ApiNode old)
    {
        var added = new SortedSet<string>(StringComparer.Ordinal);
        var known = new HashSet<string>(StringComparer.Ordinal);
        foreach (var finalizer in old.Elements)
            known.Add(finalizer.AsString());
        foreach (var finalizer in finalizers.Elements)
        {
            if (finalizer.AsString() is var name && !known.Contains(name))
                added.Add(name);
        }
        if (added.Count > 0)
            at.Forbidden($"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{string.Join(", ", added.Select(static name => GoText.Quote(name)))}}}");
    }

    private static void ManagedFields(At at, ApiNode entries)
    {
        int i = 0;
        foreach (var entry in entries.Elements)
        {
            var place = at[i++];
            var operation = entry["operation"u8];
            if (!operation.Equals("Apply"u8) && !operation.Equals("Update"u8))
                place["operation"].Invalid(operation, $"must be `{s_operations[0]}` or `{s_operations[1]}`");
            var fieldsType = entry["fieldsType"u8];
            if (!fieldsType.Utf8.IsEmpty && !fieldsType.Equals("FieldsV1"u8))
                place["fieldsType"].Invalid(fieldsType, "must be `FieldsV1`");
            if (entry["manager"u8].Utf8.Length > 128)
                place["manager"].TooLong(128);
            if (entry["subresource"u8].Utf8.Length > 256)
                place["subresource"].TooLong(256);
        }
    }

    /// <summary>A finalizer without a domain is upstream's own, or a mistake.</summary>
    internal static void StandardFinalizer(At at, ApiNode finalizer)
    {
        if (finalizer.Utf8.IndexOf((byte)'/') < 0
            && !finalizer.Equals("orphan"u8) && !finalizer.Equals("foregroundDeletion"u8) && !finalizer.Equals("kubernetes"u8))
            at.Invalid(finalizer, "name is neither a standard finalizer name nor is it fully qualified");
    }
}
