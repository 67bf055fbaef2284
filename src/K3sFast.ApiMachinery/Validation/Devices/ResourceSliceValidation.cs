using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of resource slices: the devices of one pool on a node, on some or on all.</summary>
internal static partial class ResourceSliceValidation
{
    private const int MaxDevices = 128;
    private const int MaxDevicesWithExtras = 64; // with taints, counters or lists of attributes
    private const int MaxCounterSets = 8;
    private const int MaxCounters = 32;
    private const int MaxConsumptions = 2;
    private const int MaxAttributesAndCapacities = 32;
    private const int MaxAttributeValues = 48;
    private const int MaxAttribute = 64;
    private const int MaxTaints = 16;
    private const string OneOfAll = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    private const string OneOfDevice = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";

    private static readonly TypeSchema s_specType = Schema.BuiltIn.FindType("io.k8s.api.resource.v1.ResourceSliceSpec")!;
    private static readonly TypeSchema s_attributeType = Schema.BuiltIn.FindType("io.k8s.api.resource.v1.DeviceAttribute")!;
    private static readonly TypeSchema s_selectorType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.NodeSelector")!;

    internal static void Create(At at, ApiNode slice) => Spec(at["spec"], slice["spec"u8], default);

    internal static void Update(At at, ApiNode slice, ApiNode old) => Spec(at["spec"], slice["spec"u8], old["spec"u8]);

    private static void Spec(At at, ApiNode spec, ApiNode old)
    {
        StorageValidation.DriverName(at["driver"], spec["driver"u8]);
        var pool = spec["pool"u8];
        DeviceRules.PoolName(at["pool"]["name"], pool["name"u8]);
        if (pool["resourceSliceCount"u8].AsInt64() <= 0)
            at["pool"]["resourceSliceCount"].Invalid(pool["resourceSliceCount"u8].AsInt64(), "must be greater than zero");
        if (pool["generation"u8].AsInt64() < 0)
            at["pool"]["generation"].Invalid(pool["generation"u8], "must be greater than or equal to zero");
        if (old.IsDefined)
        {
            at["pool"]["name"].Immutable(pool["name"u8], old["pool"u8]["name"u8], null);
            at["driver"].ImmutableMember(spec, old, "driver"u8, s_specType);
            at["nodeName"].ImmutableMember(spec, old, "nodeName"u8, s_specType);
        }
        Nodes(at, spec);
        if (!spec["sharedCounters"u8].IsNullOrUndefined && !spec["devices"u8].IsNullOrUndefined)
            at.Invalid("", "only one of `sharedCounters` or `devices` is allowed");
        bool hasExtras = false;
        foreach (var device in spec["devices"u8].Elements)
            hasExtras |= HasExtras(device);
        if (DeviceRules.Fits(at["devices"], spec["devices"u8], hasExtras ? MaxDevicesWithExtras : MaxDevices))
        {
            int i = 0;
            foreach (var device in spec["devices"u8].Elements)
                Device(at["devices"][i++], device, OldOf(old, device), spec["perDeviceNodeSelection"u8].AsBool());
            DeviceRules.NoDoubles(at["devices"], spec["devices"u8], static device => device["name"u8].AsString());
        }
        CounterSets(at["sharedCounters"], spec["sharedCounters"u8], "name", MaxCounterSets);
    }

    private static void Nodes(At at, ApiNode spec)
    {
        var set = new List<string>();
        NodeName(at["nodeName"], spec["nodeName"u8], set, "must be either unset or set to a non-empty string");
        if (spec["nodeSelector"u8].Kind == NodeKind.Object)
        {
            set.Add("`nodeSelector`");
            SelectorValidation.NodeSelector(at["nodeSelector"], spec["nodeSelector"u8]);
            if (spec["nodeSelector"u8]["nodeSelectorTerms"u8].Count != 1)
                at["nodeSelector"]["nodeSelectorTerms"].InvalidMember(spec["nodeSelector"u8], "nodeSelectorTerms", s_selectorType, "must have exactly one node selector term");
        }
        Flag(at["allNodes"], spec["allNodes"u8], "allNodes", set);
        Flag(at["perDeviceNodeSelection"], spec["perDeviceNodeSelection"u8], "perDeviceNodeSelection", set);
        if (set.Count == 0)
            at.Required(OneOfAll);
        else if (set.Count > 1)
            at.Invalid($"{{{string.Join(", ", set)}}}", $"{OneOfAll}, but multiple fields are set");
    }

    private static void NodeName(At at, ApiNode name, List<string> set, string whenEmpty)
    {
        if (name.IsNullOrUndefined)
            return;
        if (name.Utf8.IsEmpty)
        {
            at.Invalid(name, whenEmpty);
            return;
        }
        set.Add("`nodeName`");
        at.Format(Format.Dns1123Subdomain, name);
    }

    private static void Flag(At at, ApiNode flag, string name, List<string> set)
    {
        if (flag.AsBool())
            set.Add($"`{name}`");
        else if (!flag.IsNullOrUndefined)
            at.Invalid(flag, "must be either unset or set to true");
    }

    private static bool HasExtras(ApiNode device)
    {
        if (device["taints"u8].Count > 0 || device["consumesCounters"u8].Count > 0)
            return true;
        foreach (var attribute in device["attributes"u8].Members)
            foreach (string list in (ReadOnlySpan<string>)["bools", "ints", "strings", "versions"])
                if (!attribute.Value[Encoding.ASCII.GetBytes(list)].IsNullOrUndefined)
                    return true;
        return false;
    }

    private static ApiNode OldOf(ApiNode old, ApiNode device)
    {
        foreach (var before in old["devices"u8].Elements)
            if (before["name"u8].Equals(device["name"u8].Utf8))
                return before;
        return default;
    }

    private static void Device(At at, ApiNode device, ApiNode old, bool isPerDevice)
    {
        at["name"].Format(Format.Dns1123Label, device["name"u8].AsString());
        int named = device["attributes"u8].Count + device["capacity"u8].Count;
        if (named > MaxAttributesAndCapacities)
            at.Invalid(named, $"the total number of attributes and capacities must not exceed {MaxAttributesAndCapacities}");
        int values = 0;
        foreach (var attribute in device["attributes"u8].Members)
            values += Math.Max(1, Listed(attribute.Value));
        if (values > MaxAttributeValues)
            at.Invalid(values, $"the total number of attribute values must not exceed {MaxAttributeValues}");
        foreach (var attribute in device["attributes"u8].Members)
        {
            DeviceRules.QualifiedName(at["attributes"], Encoding.UTF8.GetString(attribute.Name));
            Attribute(at["attributes"].Key(attribute), attribute.Value);
        }
        bool isShared = device["allowMultipleAllocations"u8].AsBool();
        foreach (var capacity in device["capacity"u8].Members)
        {
            DeviceRules.QualifiedName(at["capacity"], Encoding.UTF8.GetString(capacity.Name));
            var policy = capacity.Value["requestPolicy"u8];
            var place = at["capacity"].Key(capacity)["requestPolicy"];
            if (policy.Kind == NodeKind.Object && !isShared)
                place.Forbidden("allowMultipleAllocations must be true");
            else if (policy.Kind == NodeKind.Object)
                RequestPolicyValidation.Check(place, capacity.Value["value"u8], policy);
        }
        Taints(at["taints"], device["taints"u8], old);
        CounterSets(at["consumesCounters"], device["consumesCounters"u8], "counterSet", MaxConsumptions);
        DeviceNodes(at, device, isPerDevice);
        DeviceRules.Binding(at, device);
        Mappings(at["nodeAllocatableResourceMappings"], device["nodeAllocatableResourceMappings"u8], device["capacity"u8]);
    }

    private static void Taints(At at, ApiNode taints, ApiNode old)
    {
        if (old.IsDefined && (taints.DeepEquals(old["taints"u8]) || taints.Count == 0 && old["taints"u8].Count == 0) || !DeviceRules.Fits(at, taints, MaxTaints))
            return;
        int i = 0;
        foreach (var taint in taints.Elements)
            DeviceRules.Taint(at[i++], taint, default);
    }

    private static void DeviceNodes(At at, ApiNode device, bool isPerDevice)
    {
        if (!isPerDevice)
        {
            if (!device["nodeName"u8].IsNullOrUndefined || !device["nodeSelector"u8].IsNullOrUndefined || !device["allNodes"u8].IsNullOrUndefined)
                at.Invalid(default(ApiNode), "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec");
            return;
        }
        var set = new List<string>();
        NodeName(at["nodeName"], device["nodeName"u8], set, "must not be empty");
        if (device["nodeSelector"u8].Kind == NodeKind.Object)
        {
            set.Add("`nodeSelector`");
            SelectorValidation.NodeSelector(at["nodeSelector"], device["nodeSelector"u8]);
        }
        Flag(at["allNodes"], device["allNodes"u8], "allNodes", set);
        if (set.Count == 0)
            at.Required(OneOfDevice);
        else if (set.Count > 1)
            at.Invalid($"{{{string.Join(", ", set)}}}", OneOfDevice);
    }

    private static int Listed(ApiNode attribute) =>
        attribute["bools"u8].Count + attribute["ints"u8].Count + attribute["strings"u8].Count + attribute["versions"u8].Count;

    private static void Attribute(At at, ApiNode attribute)
    {
        int count = 0;
        foreach (string name in (ReadOnlySpan<string>)["bool", "int", "string", "version", "bools", "ints", "strings", "versions"])
        {
            var value = attribute[Encoding.ASCII.GetBytes(name)];
            if (value.IsNullOrUndefined)
                continue;
            count++;
            if (name[^1] == 's' && value.Count == 0)
                at[name].Invalid(value, "must not be empty if specified");
            int i = 0;
            foreach (var element in value.Elements)
                AttributeText(at[name][i++], name[..^1], element);
            AttributeText(at[name], name, value);
        }
        if (count == 0)
            at.Invalid("", "exactly one value must be specified");
        else if (count > 1)
            at.InvalidValue(attribute, s_attributeType, "exactly one value must be specified");
    }

    private static void AttributeText(At at, string kind, ApiNode value)
    {
        if (value.Kind != NodeKind.String)
            return;
        if (kind == "version" && !SemanticVersion().IsMatch(value.AsString()))
            at.Invalid(value, "must be a string compatible with semver.org spec 2.0.0");
        if (value.Utf8.Length > MaxAttribute)
            at.TooLong(MaxAttribute);
    }

    private static void CounterSets(At at, ApiNode sets, string nameField, int max)
    {
        if (!DeviceRules.Fits(at, sets, max))
            return;
        int i = 0;
        foreach (var set in sets.Elements)
        {
            var place = at[i++];
            var name = set[Encoding.ASCII.GetBytes(nameField)];
            if (name.Utf8.IsEmpty)
                place[nameField].Required();
            else
                place[nameField].Format(Format.Dns1123Label, name);
            var counters = set["counters"u8];
            if (counters.Count == 0)
                place["counters"].Required();
            else if (DeviceRules.Fits(place["counters"], counters, MaxCounters))
                foreach (var counter in counters.Members)
                    place["counters"].Format(Format.Dns1123Label, Encoding.UTF8.GetString(counter.Name));
        }
        DeviceRules.NoDoubles(at, sets, set => set[Encoding.ASCII.GetBytes(nameField)].AsString());
    }

    private static void Mappings(At at, ApiNode mappings, ApiNode capacities)
    {
        foreach (var mapping in mappings.Members)
        {
            var place = at.Key(mapping);
            if (!ResourceValidation.IsNative(mapping.Name))
                place.Invalid(Encoding.UTF8.GetString(mapping.Name), "must be a node allocatable resource name");
            var factor = mapping.Value["allocationMultiplier"u8];
            var key = mapping.Value["capacityKey"u8];
            if (factor.IsNullOrUndefined && key.IsNullOrUndefined)
                place.Invalid("", "at least one of allocationMultiplier or capacityKey must be set");
            if (!factor.IsNullOrUndefined && Quantity.TryParse(factor.Utf8, out var value) && value.Sign <= 0)
                place["allocationMultiplier"].Invalid(value.ToString(), "must be positive");
            if (key.IsNullOrUndefined)
                continue;
            if (key.Utf8.IsEmpty)
                place["capacityKey"].Invalid("", "capacityKey must not be an empty string");
            else if (!capacities[key.Utf8].IsDefined)
                place["capacityKey"].NotFound(key);
        }
    }

    [GeneratedRegex(@"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$",
        RegexOptions.CultureInvariant | RegexOptions.ECMAScript)]
    private static partial Regex SemanticVersion();
}
