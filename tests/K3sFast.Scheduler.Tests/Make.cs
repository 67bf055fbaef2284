using k8s.Models;

namespace K3sFast.Scheduler.Tests;

/// <summary>Pods and nodes in one line.</summary>
internal static class Make
{
    internal static V1Node Node(string name, string cpu = "4", string memory = "8Gi", int pods = 110, params (string Key, string Value)[] labels) => new()
    {
        ApiVersion = "v1",
        Kind = "Node",
        Metadata = new V1ObjectMeta
        {
            Name = name,
            Labels = labels.Append(("kubernetes.io/hostname", name)).ToDictionary(static pair => pair.Item1, static pair => pair.Item2),
        },
        Spec = new V1NodeSpec(),
        Status = new V1NodeStatus
        {
            Allocatable = new Dictionary<string, ResourceQuantity>
            {
                ["cpu"] = new(cpu), ["memory"] = new(memory), ["pods"] = new(pods.ToString()), ["ephemeral-storage"] = new("100Gi"),
            },
        },
    };

    internal static V1Pod Pod(string name, string? cpu = null, string? memory = null, string? node = null, int? priority = null) => new()
    {
        ApiVersion = "v1",
        Kind = "Pod",
        Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "default", Uid = "uid-" + name, Labels = new Dictionary<string, string>() },
        Spec = new V1PodSpec
        {
            NodeName = node,
            Priority = priority,
            SchedulerName = "default-scheduler",
            Containers = [new V1Container { Name = "c", Image = "image", Resources = Requests(cpu, memory) }],
        },
        Status = new V1PodStatus { Phase = "Pending" },
    };

    internal static V1ResourceRequirements Requests(string? cpu, string? memory, params (string Name, string Amount)[] more)
    {
        var requests = more.ToDictionary(static pair => pair.Name, static pair => new ResourceQuantity(pair.Amount));
        if (cpu is not null) requests["cpu"] = new ResourceQuantity(cpu);
        if (memory is not null) requests["memory"] = new ResourceQuantity(memory);
        return new V1ResourceRequirements { Requests = requests };
    }

    internal static V1PodAffinityTerm Term(string key, string value, string topology = "kubernetes.io/hostname") => new()
    {
        TopologyKey = topology,
        LabelSelector = new V1LabelSelector { MatchLabels = new Dictionary<string, string> { [key] = value } },
    };

    /// <summary>What a placement says about one pod in a cluster: the node, or the reason.</summary>
    internal static string Place(V1Pod pod, IEnumerable<V1Node> nodes, params V1Pod[] placed)
    {
        var state = State(nodes, placed);
        var placement = new Placement(state, new SchedulerOptions(), static _ => null);
        return placement.Find(new PodInfo(pod), out var refusal)?.Name ?? refusal.ToString();
    }

    internal static ClusterState State(IEnumerable<V1Node> nodes, params V1Pod[] placed)
    {
        var state = new ClusterState();
        foreach (var node in nodes) state.SetNode(node);
        foreach (var pod in placed) state.Place(new PodInfo(pod), pod.Spec.NodeName);
        return state;
    }
}
