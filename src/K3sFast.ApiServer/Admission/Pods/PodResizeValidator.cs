using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>PodResizeValidator: a pod that runs may not be resized beyond what its node has.</summary>
internal sealed class PodResizeValidator(ResourceStorage nodes) : AdmissionPlugin
{
    internal override void Validate(AdmissionContext context)
    {
        if (context.Operation != AdmissionOperation.Update || context.Subresource != "resize" || !context.Is("", "pods"))
            return;
        var name = context.Object["spec"u8]["nodeName"u8].AsString();
        if (name.Length == 0 || context.Object["metadata"u8]["generation"u8].AsInt64() == context.OldObject["metadata"u8]["generation"u8].AsInt64())
            return;
        using var stored = nodes.Get("", name) ?? throw context.Forbid($"node {GoText.Quote(name)} not found");
        using var node = nodes.Decode(stored);
        var os = node.Root["metadata"u8]["labels"u8]["kubernetes.io/os"u8];
        if (os.IsDefined && !os.Equals("linux"u8))
        {
            throw Refuse(context, "UnsupportedPlatform",
                $"pod resize is only supported on linux nodes, node {GoText.Quote(name)} is {GoText.Quote(os.Utf8)}");
        }
        var allocatable = ResourceAmounts.Read(node.Root["status"u8]["allocatable"u8]);
        var requests = PodDemand.Requests(context.Object);
        var faults = new List<string>();
        Quantity cpu = requests.GetValueOrDefault("cpu"), cpuThere = allocatable.GetValueOrDefault("cpu");
        if (cpu > cpuThere)
            faults.Add($"cpu, requested: {cpu.MilliValue}, allocatable: {cpuThere.MilliValue}");
        Quantity memory = requests.GetValueOrDefault("memory"), memoryThere = allocatable.GetValueOrDefault("memory");
        if (memory > memoryThere)
            faults.Add($"memory, requested: {memory.Value}, allocatable: {memoryThere.Value}");
        if (faults.Count > 0)
            throw Refuse(context, "NodeCapacity", $"node didn't have enough allocatable resources: {string.Join("; ", faults)}");
    }

    private static ApiStatusException Refuse(AdmissionContext context, string cause, string why)
    {
        var status = context.Forbid(why).Status;
        return new ApiStatus
        {
            Code = status.Code, Reason = status.Reason, HasDetails = true, Group = status.Group, Kind = status.Kind, Name = status.Name, Message = status.Message,
            Causes = [new StatusCause(cause, "", "")],
        }.ToException();
    }
}
