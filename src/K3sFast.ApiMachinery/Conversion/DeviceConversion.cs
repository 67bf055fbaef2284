using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// The kinds of resource.k8s.io between v1beta1 and v1: there a request was what v1 calls "exactly" one of its two forms, and a device had its parts in
/// "basic". v1beta2 has the shape of v1.
/// </summary>
public static class DeviceConversion
{
    private static readonly string[] s_requestFields = ["deviceClassName", "selectors", "allocationMode", "count", "adminAccess", "tolerations", "capacity"];

    private static readonly string[] s_deviceFields =
    [
        "attributes", "capacity", "consumesCounters", "nodeName", "nodeSelector", "allNodes", "taints", "bindsToNode", "bindingConditions", "bindingFailureConditions",
        "allowMultipleAllocations", "nodeAllocatableResourceMappings",
    ];

    /// <summary>Makes an object of v1beta1 one of v1, in place.</summary>
    public static void FromFirstBeta(ApiNode obj, string resource)
    {
        foreach (var request in RequestsOf(obj, resource).Elements)
            Nest(request, "exactly"u8, s_requestFields, always: false);
        if (resource != "resourceslices")
            return;
        var spec = obj["spec"u8];
        // Without pointers there: the empty name and false were absence.
        if (spec["nodeName"u8].Utf8.IsEmpty)
            spec.Remove("nodeName"u8);
        if (!spec["allNodes"u8].AsBool())
            spec.Remove("allNodes"u8);
        foreach (var device in spec["devices"u8].Elements)
            Flatten(device, "basic"u8);
    }

    /// <summary>Makes an object of v1 one of v1beta1, in place.</summary>
    public static void ToFirstBeta(ApiNode obj, string resource)
    {
        foreach (var request in RequestsOf(obj, resource).Elements)
            Flatten(request, "exactly"u8);
        if (resource != "resourceslices")
            return;
        foreach (var device in obj["spec"u8]["devices"u8].Elements)
            Nest(device, "basic"u8, s_deviceFields, always: true);
    }

    private static ApiNode RequestsOf(ApiNode obj, string resource) => resource switch
    {
        "resourceclaims" => obj["spec"u8]["devices"u8]["requests"u8],
        "resourceclaimtemplates" => obj["spec"u8]["spec"u8]["devices"u8]["requests"u8],
        _ => default,
    };

    private static void Nest(ApiNode owner, ReadOnlySpan<byte> name, string[] fields, bool always)
    {
        if (owner.Kind != NodeKind.Object)
            return;
        var inner = owner.Document.NewObject();
        foreach (string field in fields)
        {
            var key = Encoding.ASCII.GetBytes(field);
            var value = owner[key];
            if (!value.IsDefined)
                continue;
            inner.Set(key, value);
            owner.Remove(key);
        }
        if (always || inner.Count > 0)
            owner.Set(name, inner);
    }

    private static void Flatten(ApiNode owner, ReadOnlySpan<byte> name)
    {
        var inner = owner[name];
        foreach (var member in inner.Members)
            owner.Set(member.Name.ToArray(), member.Value);
        owner.Remove(name);
    }
}
