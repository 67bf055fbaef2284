namespace K3sFast.ApiMachinery;

/// <summary>Validation of what CSI drivers and their controllers write: drivers, nodes, capacities, attachments, attributes classes.</summary>
internal static class CsiValidation
{
    private const int MaxAttributeBytes = 256 * 1024;
    private const int MaxErrorBytes = 1024;

    private static readonly TypeSchema s_driverSpecType = Schema.BuiltIn.FindType("io.k8s.api.storage.v1.CSIDriverSpec")!;
    private static readonly TypeSchema s_nodeDriverType = Schema.BuiltIn.FindType("io.k8s.api.storage.v1.CSINodeDriver")!;
    private static readonly TypeSchema s_capacityType = Schema.BuiltIn.FindType("io.k8s.api.storage.v1.CSIStorageCapacity")!;
    private static readonly TypeSchema s_attachmentType = Schema.BuiltIn.FindType("io.k8s.api.storage.v1.VolumeAttachment")!;
    private static readonly TypeSchema s_attributesType = Schema.BuiltIn.FindType("io.k8s.api.storage.v1.VolumeAttributesClass")!;

    internal static void Driver(At at, ApiNode driver)
    {
        DriverSpec(at["spec"], driver["spec"u8]);
    }

    internal static void DriverUpdate(At at, ApiNode driver, ApiNode old)
    {
        ApiNode spec = driver["spec"u8], oldSpec = old["spec"u8];
        at = at["spec"];
        DriverSpec(at, spec);
        at["attachedRequired"].ImmutableMember(spec, oldSpec, "attachRequired"u8, s_driverSpecType);
        at["volumeLifecycleModes"].ImmutableMember(spec, oldSpec, "volumeLifecycleModes"u8, s_driverSpecType);
    }

    internal static void Node(At at, ApiNode node)
    {
        var drivers = node["spec"u8]["drivers"u8];
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var driver in drivers.Elements)
        {
            var place = at["spec"]["drivers"][i++];
            NodeDriver(place, driver, seen);
        }
    }

    internal static void NodeUpdate(At at, ApiNode node, ApiNode old)
    {
        Node(at, node);
        // What the kubelet said of a driver stays until the driver is gone; its attach limit may change.
        foreach (var oldDriver in old["spec"u8]["drivers"u8].Elements)
        {
            foreach (var driver in node["spec"u8]["drivers"u8].Elements)
            {
                if (!driver["name"u8].Equals(oldDriver["name"u8].Utf8))
                    continue;
                if (!driver["nodeID"u8].Utf8.SequenceEqual(oldDriver["nodeID"u8].Utf8) || !SemanticEquality.MemberEqual(driver, oldDriver, "topologyKeys"u8, s_nodeDriverType))
                {
                    // Shown without the limit, which is not compared.
                    driver.Remove("allocatable"u8);
                    at["spec"]["drivers"].InvalidValue(driver, s_nodeDriverType, "field is immutable");
                }
            }
        }
    }

    internal static void Capacity(At at, ApiNode capacity)
    {
        if (capacity["nodeTopology"u8].Kind == NodeKind.Object)
            SelectorValidation.LabelSelector(at["nodeTopology"], capacity["nodeTopology"u8]);
        at["storageClassName"].Format(Format.Dns1123Subdomain, capacity["storageClassName"u8].AsString());
        ResourceValidation.NonNegative(at["capacity"], capacity["capacity"u8]);
    }

    internal static void CapacityUpdate(At at, ApiNode capacity, ApiNode old)
    {
        Capacity(at, capacity);
        at["nodeTopology"].ImmutableMember(capacity, old, "nodeTopology"u8, s_capacityType);
        at["storageClassName"].ImmutableMember(capacity, old, "storageClassName"u8, s_capacityType);
    }

    internal static void Attachment(At at, ApiNode attachment)
    {
        AttachmentSpec(at["spec"], attachment["spec"u8]);
        AttachmentStatusValues(at["status"], attachment["status"u8]);
        var name = attachment["spec"u8]["source"u8]["persistentVolumeName"u8];
        if (!name.IsNullOrUndefined)
            at["spec"]["source"]["persistentVolumeName"].Format(Format.Dns1123Subdomain, name.AsString());
    }

    internal static void AttachmentUpdate(At at, ApiNode attachment, ApiNode old)
    {
        Attachment(at, attachment);
        at["spec"].ImmutableMember(attachment, old, "spec"u8, s_attachmentType);
    }

    internal static void AttachmentStatus(At at, ApiNode attachment, ApiNode old) => AttachmentStatusValues(at["status"], attachment["status"u8]);

    internal static void AttributesClass(At at, ApiNode attributes)
    {
        StorageValidation.Provisioner(at["driverName"], attributes["driverName"u8]);
        StorageValidation.Parameters(at["parameters"], attributes["parameters"u8]);
        if (attributes["parameters"u8].Count == 0)
            at["parameters"].Required("must contain at least one key/value pair");
    }

    internal static void AttributesClassUpdate(At at, ApiNode attributes, ApiNode old)
    {
        if (!attributes["driverName"u8].Utf8.SequenceEqual(old["driverName"u8].Utf8))
            at["driverName"].Forbidden("updates to driverName are forbidden.");
        if (!SemanticEquality.MemberEqual(attributes, old, "parameters"u8, s_attributesType))
            at["parameters"].Forbidden("updates to parameters are forbidden.");
        AttributesClass(at, attributes);
    }

    private static void DriverSpec(At at, ApiNode spec)
    {
        if (spec["attachRequired"u8].IsNullOrUndefined)
            at["attachedRequired"].Required();
        if (spec["podInfoOnMount"u8].IsNullOrUndefined)
            at["podInfoOnMount"].Required();
        if (spec["storageCapacity"u8].IsNullOrUndefined)
            at["storageCapacity"].Required();
        if (spec["fsGroupPolicy"u8].IsNullOrUndefined)
            at["fsGroupPolicy"].Required();
        else
            at["fsGroupPolicy"].OneOf(spec["fsGroupPolicy"u8], ["File", "None", "ReadWriteOnceWithFSType"]);
        TokenRequests(at["tokenRequests"], spec["tokenRequests"u8]);
        foreach (var mode in spec["volumeLifecycleModes"u8].Elements)
            at["volumeLifecycleModes"].OneOf(mode, ["Persistent", "Ephemeral"]);
        if (spec["seLinuxMount"u8].IsNullOrUndefined)
            at["seLinuxMount"].Required();
        if (spec["nodeAllocatableUpdatePeriodSeconds"u8].TryGetInt64(out long period) && period < 10)
            at["nodeAllocatableUpdatePeriodSeconds"].Invalid(period, "must be greater than or equal to 10 seconds");
        if (spec["serviceAccountTokenInSecrets"u8].IsDefined && spec["tokenRequests"u8].Count == 0)
            at["serviceAccountTokenInSecrets"].Invalid(spec["serviceAccountTokenInSecrets"u8], "must be unset if tokenRequests is empty");
    }

    private static void TokenRequests(At at, ApiNode requests)
    {
        var audiences = new HashSet<string>();
        int i = 0;
        foreach (var request in requests.Elements)
        {
            var place = at[i++];
            if (!audiences.Add(request["audience"u8].AsString()))
            {
                place["audience"].Duplicate(request["audience"u8]);
                continue;
            }
            if (!request["expirationSeconds"u8].TryGetInt64(out long seconds))
                continue;
            if (seconds < 600)
                place["expirationSeconds"].Invalid(seconds, "may not specify a duration less than 10 minutes");
            if (seconds > 1L << 32)
                place["expirationSeconds"].Invalid(seconds, "may not specify a duration larger than 2^32 seconds");
        }
    }

    private static void NodeDriver(At at, ApiNode driver, HashSet<string> names)
    {
        StorageValidation.DriverName(at["name"], driver["name"u8]);
        if (driver["nodeID"u8].Utf8.IsEmpty)
            at["nodeID"].Required();
        else if (driver["nodeID"u8].Utf8.Length > 256)
            at["nodeID"].Invalid(driver["nodeID"u8], "must be 256 characters or less");
        at["allocatable"]["count"].NonNegative(driver["allocatable"u8]["count"u8]);
        if (!names.Add(driver["name"u8].AsString()))
            at["name"].Duplicate(driver["name"u8]);
        var seen = new HashSet<string>();
        foreach (var key in driver["topologyKeys"u8].Elements)
        {
            if (key.Utf8.IsEmpty)
                at.Required();
            if (!seen.Add(key.AsString()))
                at.Duplicate(key);
            at.Format(Format.LabelKey, key);
        }
    }

    private static void AttachmentSpec(At at, ApiNode spec)
    {
        StorageValidation.DriverName(at["attacher"], spec["attacher"u8]);
        bool hasInline = !spec["source"u8]["inlineVolumeSpec"u8].IsNullOrUndefined;
        bool hasName = !spec["source"u8]["persistentVolumeName"u8].IsNullOrUndefined;
        if (hasInline && hasName)
            at["source"].Forbidden("must specify exactly one of inlineVolumeSpec and persistentVolumeName");
        else if (!hasInline && !hasName)
            at["source"].Required("must specify exactly one of inlineVolumeSpec and persistentVolumeName");
        else if (hasName && spec["source"u8]["persistentVolumeName"u8].Utf8.IsEmpty)
            at["source"]["persistentVolumeName"].Required("must specify non empty persistentVolumeName");
        else if (hasInline)
            PersistentVolumeValidation.Spec(at["source"]["inlineVolumeSpec"], spec["source"u8]["inlineVolumeSpec"u8], "", isInline: true);
        at["nodeName"].Format(Format.Dns1123Subdomain, spec["nodeName"u8].AsString());
    }

    private static void AttachmentStatusValues(At at, ApiNode status)
    {
        int size = 0;
        foreach (var member in status["attachmentMetadata"u8].Members)
            size += member.Name.Length + member.Value.Utf8.Length;
        if (size > MaxAttributeBytes)
            at["attachmentMetadata"].TooLong(MaxAttributeBytes);
        VolumeError(at["attachError"], status["attachError"u8]);
        VolumeError(at["detachError"], status["detachError"u8]);
    }

    private static void VolumeError(At at, ApiNode error)
    {
        if (error["message"u8].Utf8.Length > MaxErrorBytes)
            at["message"].TooLong(MaxErrorBytes);
        at["errorCode"].InRange(error["errorCode"u8], 0, int.MaxValue);
    }
}
