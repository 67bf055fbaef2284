namespace K3sFast.ApiMachinery;

/// <summary>Validation of resource claims, their templates and device classes (resource.k8s.io).</summary>
internal static class DeviceClaimValidation
{
    private const int MaxConstraints = 32;
    private const int MaxConfigs = 32;
    private const int MaxAlternatives = 8;
    private const int MaxReservations = 256;
    private const int MaxConditions = 8;
    private const int MaxInterfaceName = 256;
    private const int MaxHardwareAddress = 128;
    private const int MaxInterfaceAddresses = 16;
    private const int MaxStatusData = 10 * 1024;
    private const string NoSuchRequest = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

    private static readonly TypeSchema s_claimType = Schema.BuiltIn.FindType("io.k8s.api.resource.v1.ResourceClaim")!;
    private static readonly TypeSchema s_templateType = Schema.BuiltIn.FindType("io.k8s.api.resource.v1.ResourceClaimTemplate")!;
    private static readonly TypeSchema s_statusType = Schema.BuiltIn.FindType("io.k8s.api.resource.v1.ResourceClaimStatus")!;

    internal static void Claim(At at, ApiNode claim) => Devices(at["spec"]["devices"], claim["spec"u8]["devices"u8]);

    internal static void ClaimUpdate(At at, ApiNode claim, ApiNode old) => at["spec"].ImmutableMember(claim, old, "spec"u8, s_claimType);

    internal static void ClaimStatus(At at, ApiNode claim, ApiNode old)
    {
        var status = claim["status"u8];
        var oldStatus = old["status"u8];
        var allocation = status["allocation"u8];
        var place = at["status"];
        var requests = claim["spec"u8]["devices"u8]["requests"u8];
        Consumers(place["reservedFor"], status["reservedFor"u8]);
        DeviceStatuses(place["devices"], status["devices"u8], allocation);
        if (status["reservedFor"u8].Count > 0)
        {
            if (allocation.Kind != NodeKind.Object)
                place["reservedFor"].Forbidden("may not be specified when `allocated` is not set");
            else if (!claim["metadata"u8]["deletionTimestamp"u8].Utf8.IsEmpty && HasNew(status["reservedFor"u8], oldStatus["reservedFor"u8]))
                place["reservedFor"].Forbidden("new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
        }
        if (oldStatus["allocation"u8].Kind == NodeKind.Object && allocation.Kind == NodeKind.Object)
            place["allocation"].ImmutableMember(status, oldStatus, "allocation"u8, s_statusType);
        else if (allocation.Kind == NodeKind.Object)
            Allocation(place["allocation"], allocation, requests);
    }

    internal static void Template(At at, ApiNode template)
    {
        var metadata = template["spec"u8]["metadata"u8];
        ObjectMetaValidation.Annotations(at["spec"]["metadata"]["annotations"], metadata["annotations"u8]);
        ObjectMetaValidation.Labels(at["spec"]["metadata"]["labels"], metadata["labels"u8]);
        Devices(at["spec"]["spec"]["devices"], template["spec"u8]["spec"u8]["devices"u8]);
    }

    internal static void TemplateUpdate(At at, ApiNode template, ApiNode old) => at["spec"].ImmutableMember(template, old, "spec"u8, s_templateType);

    internal static void Class(At at, ApiNode deviceClass) => ClassSpec(at["spec"], deviceClass["spec"u8], default);

    internal static void ClassUpdate(At at, ApiNode deviceClass, ApiNode old) => ClassSpec(at["spec"], deviceClass["spec"u8], old["spec"u8]);

    private static void ClassSpec(At at, ApiNode spec, ApiNode old)
    {
        DeviceRules.Selectors(at["selectors"], spec["selectors"u8]);
        bool isStored = old.IsDefined && spec["config"u8].DeepEquals(old["config"u8]);
        if (DeviceRules.Fits(at["config"], spec["config"u8], MaxConfigs))
        {
            int i = 0;
            foreach (var config in spec["config"u8].Elements)
                DeviceRules.Opaque(at["config"][i++], config, isStored);
        }
        var name = spec["extendedResourceName"u8];
        if (!name.IsNullOrUndefined && !ResourceValidation.IsExtended(name.Utf8))
            at["extendedResourceName"].Invalid(name, "must be a valid extended resource name");
    }

    private static void Devices(At at, ApiNode devices)
    {
        var requests = devices["requests"u8];
        if (DeviceRules.Fits(at["requests"], requests, DeviceRules.MaxRequests))
        {
            int i = 0;
            foreach (var request in requests.Elements)
                Request(at["requests"][i++], request);
            DeviceRules.NoDoubles(at["requests"], requests, static request => request["name"u8].AsString());
        }
        if (DeviceRules.Fits(at["constraints"], devices["constraints"u8], MaxConstraints))
        {
            int i = 0;
            foreach (var constraint in devices["constraints"u8].Elements)
                Constraint(at["constraints"][i++], constraint, requests);
        }
        Configs(at["config"], devices["config"u8], requests, MaxConfigs, isAllocated: false);
    }

    private static void Request(At at, ApiNode request)
    {
        at["name"].Format(Format.Dns1123Label, request["name"u8].AsString());
        var alternatives = request["firstAvailable"u8];
        bool isExact = request["exactly"u8].Kind == NodeKind.Object;
        if (!isExact && alternatives.Count == 0)
        {
            at.Required("exactly one of `exactly` or `firstAvailable` is required");
        }
        else if (isExact && alternatives.Count > 0)
        {
            at.Invalid(default(ApiNode), "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
        }
        else if (isExact)
        {
            OneRequest(at["exactly"], request["exactly"u8]);
        }
        else if (DeviceRules.Fits(at["firstAvailable"], alternatives, MaxAlternatives))
        {
            int i = 0;
            foreach (var alternative in alternatives.Elements)
            {
                var place = at["firstAvailable"][i++];
                place["name"].Format(Format.Dns1123Label, alternative["name"u8].AsString());
                OneRequest(place, alternative);
            }
            DeviceRules.NoDoubles(at["firstAvailable"], alternatives, static alternative => alternative["name"u8].AsString());
        }
    }

    private static void OneRequest(At at, ApiNode request)
    {
        DeviceRules.ClassName(at["deviceClassName"], request["deviceClassName"u8]);
        DeviceRules.Selectors(at["selectors"], request["selectors"u8]);
        long count = request["count"u8].AsInt64();
        switch (request["allocationMode"u8].AsString())
        {
            case "All":
                if (count != 0)
                    at["count"].Invalid(count, "must not be specified when allocationMode is 'All'");
                break;
            case "ExactCount":
                if (count <= 0)
                    at["count"].Invalid(count, "must be greater than zero");
                break;
            default:
                at["allocationMode"].NotSupported(request["allocationMode"u8], ["All", "ExactCount"]);
                break;
        }
        DeviceRules.Tolerations(at["tolerations"], request["tolerations"u8]);
    }

    private static void Constraint(At at, ApiNode constraint, ApiNode requests)
    {
        RequestNames(at["requests"], constraint["requests"u8], requests);
        if (!constraint["matchAttribute"u8].IsNullOrUndefined)
            DeviceRules.FullyQualifiedName(at["matchAttribute"], constraint["matchAttribute"u8]);
        else if (!constraint["distinctAttribute"u8].IsNullOrUndefined)
            DeviceRules.FullyQualifiedName(at["distinctAttribute"], constraint["distinctAttribute"u8]);
        else if (FeatureGates.Current.IsOn("DRAConsumableCapacity"))
            at.Required("exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set");
        else
            at["matchAttribute"].Required();
    }

    private static void Configs(At at, ApiNode configs, ApiNode requests, int max, bool isAllocated)
    {
        if (!DeviceRules.Fits(at, configs, max))
            return;
        int i = 0;
        foreach (var config in configs.Elements)
        {
            var place = at[i++];
            if (isAllocated)
                place["source"].RequiredOneOf(config["source"u8], ["FromClaim", "FromClass"]);
            RequestNames(place["requests"], config["requests"u8], requests);
            DeviceRules.Opaque(place, config, isStored: false);
        }
    }

    private static void RequestNames(At at, ApiNode names, ApiNode requests)
    {
        if (!DeviceRules.Fits(at, names, DeviceRules.MaxRequests))
            return;
        int i = 0;
        foreach (var name in names.Elements)
            RequestName(at[i++], name, requests);
        DeviceRules.NoDoubles(at, names, static name => name.AsString());
    }

    private static void RequestName(At at, ApiNode name, ApiNode requests)
    {
        string[] segments = name.AsString().Split('/');
        if (segments.Length > 2)
        {
            at.Invalid(name, NoSuchRequest);
            return;
        }
        foreach (string segment in segments)
            at.Format(Format.Dns1123Label, segment);
        foreach (var request in requests.Elements)
        {
            if (request["name"u8].AsString() != segments[0])
                continue;
            if (segments.Length == 1)
                return;
            foreach (var alternative in request["firstAvailable"u8].Elements)
                if (alternative["name"u8].AsString() == segments[1])
                    return;
        }
        at.Invalid(name, NoSuchRequest);
    }

    private static void Consumers(At at, ApiNode consumers)
    {
        if (!DeviceRules.Fits(at, consumers, MaxReservations))
            return;
        int i = 0;
        foreach (var consumer in consumers.Elements)
        {
            at[i]["resource"].RequiredText(consumer["resource"u8]);
            at[i]["name"].RequiredText(consumer["name"u8]);
            at[i++]["uid"].RequiredText(consumer["uid"u8]);
        }
        DeviceRules.NoDoubles(at, consumers, static consumer => consumer["uid"u8].AsString());
    }

    private static bool HasNew(ApiNode consumers, ApiNode old)
    {
        foreach (var consumer in consumers.Elements)
        {
            bool isKnown = false;
            foreach (var before in old.Elements)
                isKnown |= before.DeepEquals(consumer);
            if (!isKnown)
                return true;
        }
        return false;
    }

    private static void Allocation(At at, ApiNode allocation, ApiNode requests)
    {
        var devices = allocation["devices"u8];
        var place = at["devices"];
        if (DeviceRules.Fits(place["results"], devices["results"u8], DeviceRules.MaxRequests))
        {
            int i = 0;
            foreach (var result in devices["results"u8].Elements)
            {
                var one = place["results"][i++];
                RequestName(one["request"], result["request"u8], requests);
                Device(one, result);
                DeviceRules.Binding(one, result);
                Uid(one["shareID"], result["shareID"u8]);
            }
        }
        Configs(place["config"], devices["config"u8], requests, 2 * MaxConfigs, isAllocated: true);
        if (allocation["nodeSelector"u8].Kind == NodeKind.Object)
            SelectorValidation.NodeSelector(at["nodeSelector"], allocation["nodeSelector"u8]);
    }

    private static void Device(At at, ApiNode device)
    {
        StorageValidation.DriverName(at["driver"], device["driver"u8]);
        DeviceRules.PoolName(at["pool"], device["pool"u8]);
        at["device"].Format(Format.Dns1123Label, device["device"u8].AsString());
    }

    private static void Uid(At at, ApiNode uid)
    {
        if (uid.IsNullOrUndefined)
            return;
        string text = uid.AsString();
        if (!Guid.TryParse(text, out _))
            at.Invalid(uid, $"error validating uid: invalid UUID length: {text.Length}");
        else if (text.Length != 36 || text != text.ToLowerInvariant())
            at.Invalid(uid, "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters");
    }

    private static void DeviceStatuses(At at, ApiNode statuses, ApiNode allocation)
    {
        int i = 0;
        foreach (var status in statuses.Elements)
        {
            var place = at[i++];
            Device(place, status);
            Uid(place["shareID"], status["shareID"u8]);
            bool isAllocated = false;
            foreach (var result in allocation["devices"u8]["results"u8].Elements)
                isAllocated |= KeyOf(result) == KeyOf(status);
            if (!isAllocated)
                at.Check.Errors.AddRaw(FieldErrorType.Invalid, place.ToString(), KeyOf(status), "must be an allocated device in the claim");
            DeviceRules.Fits(place["conditions"], status["conditions"u8], MaxConditions);
            ConditionValidation.Check(place["conditions"], status["conditions"u8]);
            if (!status["data"u8].IsNullOrUndefined)
                DeviceRules.RawObject(place["data"], status["data"u8], MaxStatusData, isStored: false);
            NetworkData(place["networkData"], status["networkData"u8]);
        }
        DeviceRules.NoDoubles(at, statuses, KeyOf);
    }

    // As upstream's key of a shared device is printed.
    private static string KeyOf(ApiNode device) =>
        $"{{\"Driver\":{GoText.Quote(device["driver"u8].Utf8)},\"Pool\":{GoText.Quote(device["pool"u8].Utf8)},\"Device\":{GoText.Quote(device["device"u8].Utf8)},\"ShareID\":{GoText.Quote(device["shareID"u8].Utf8)}}}";

    private static void NetworkData(At at, ApiNode data)
    {
        if (data.Kind != NodeKind.Object)
            return;
        if (data["interfaceName"u8].Utf8.Length > MaxInterfaceName)
            at["interfaceName"].TooLong(MaxInterfaceName);
        if (data["hardwareAddress"u8].Utf8.Length > MaxHardwareAddress)
            at["hardwareAddress"].TooLong(MaxHardwareAddress);
        if (!DeviceRules.Fits(at["ips"], data["ips"u8], MaxInterfaceAddresses))
            return;
        int i = 0;
        foreach (var address in data["ips"u8].Elements)
            DeviceRules.InterfaceAddress(at["ips"][i++], address);
        DeviceRules.NoDoubles(at["ips"], data["ips"u8], static address => address.AsString());
    }
}
