using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>LimitRanger: gives containers the namespace's default requests and limits, and refuses what is outside its bounds.</summary>
internal sealed class LimitRanger(ResourceStorage ranges) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!IsPodCreate(context))
            return;
        foreach (var stored in ranges.All(context.Namespace))
        {
            using var range = ranges.Decode(stored);
            foreach (var limit in range.Root["spec"u8]["limits"u8].Elements)
            {
                if (!limit["type"u8].Equals("Container"u8))
                    continue;
                ApplyDefaults(context.Object["spec"u8]["containers"u8], limit);
                ApplyDefaults(context.Object["spec"u8]["initContainers"u8], limit);
            }
        }
    }

    internal override void Validate(AdmissionContext context)
    {
        if (context.Operation == AdmissionOperation.Delete || context.Subresource.Length > 0)
            return;
        var isClaim = context.Is("", "persistentvolumeclaims");
        if (!IsPodCreate(context) && !isClaim)
            return;
        var errors = new List<string>();
        foreach (var stored in ranges.All(context.Namespace))
        {
            using var range = ranges.Decode(stored);
            foreach (var limit in range.Root["spec"u8]["limits"u8].Elements)
            {
                if (isClaim && limit["type"u8].Equals("PersistentVolumeClaim"u8))
                {
                    Check(limit, context.Object["spec"u8]["resources"u8], "PersistentVolumeClaim", errors);
                }
                else if (!isClaim && limit["type"u8].Equals("Container"u8))
                {
                    foreach (var container in context.Object["spec"u8]["containers"u8].Elements)
                        Check(limit, container["resources"u8], "Container", errors);
                    foreach (var container in context.Object["spec"u8]["initContainers"u8].Elements)
                        Check(limit, container["resources"u8], "Container", errors);
                }
            }
        }
        if (errors.Count > 0)
            throw context.Forbid(errors.Count == 1 ? errors[0] : $"[{string.Join(", ", errors)}]");
    }

    private static bool IsPodCreate(AdmissionContext context) =>
        context.Operation == AdmissionOperation.Create && context.Subresource.Length == 0 && context.Is("", "pods");

    private static void ApplyDefaults(ApiNode containers, ApiNode limit)
    {
        foreach (var container in containers.Elements)
        {
            foreach (var value in limit["default"u8].Members)
                SetIfAbsent(container, "limits"u8, value);
            foreach (var value in limit["defaultRequest"u8].Members)
                SetIfAbsent(container, "requests"u8, value);
        }
    }

    private static void SetIfAbsent(ApiNode container, ReadOnlySpan<byte> list, ApiMember value)
    {
        var resources = container.GetOrAddObject("resources"u8);
        if (!resources[list][value.Name].IsDefined)
            resources.GetOrAddObject(list).Set(value.Name, value.Value);
    }

    private static void Check(ApiNode limit, ApiNode resources, string type, List<string> errors)
    {
        foreach (var bound in limit["min"u8].Members)
        {
            var name = System.Text.Encoding.UTF8.GetString(bound.Name);
            if (!TryRead(bound.Value, out var min))
                continue;
            if (!TryRead(resources["requests"u8][bound.Name], out var request))
                errors.Add($"minimum {name} usage per {type} is {min}.  No request is specified");
            else if (request.CompareTo(min) < 0)
                errors.Add($"minimum {name} usage per {type} is {min}, but request is {request}");
        }
        foreach (var bound in limit["max"u8].Members)
        {
            var name = System.Text.Encoding.UTF8.GetString(bound.Name);
            // A claim has requests only.
            var isClaim = type == "PersistentVolumeClaim";
            if (!TryRead(bound.Value, out var max))
                continue;
            if (!TryRead(resources[isClaim ? "requests"u8 : "limits"u8][bound.Name], out var value))
                errors.Add($"maximum {name} usage per {type} is {max}.  No {(isClaim ? "request" : "limit")} is specified");
            else if (value.CompareTo(max) > 0)
                errors.Add($"maximum {name} usage per {type} is {max}, but {(isClaim ? "request" : "limit")} is {value}");
        }
    }

    private static bool TryRead(ApiNode node, out Quantity quantity)
    {
        quantity = default;
        return node.Utf8.Length > 0 && Quantity.TryParse(node.Utf8, out quantity);
    }
}
