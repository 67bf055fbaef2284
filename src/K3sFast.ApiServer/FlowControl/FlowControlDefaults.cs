using System.Globalization;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>An object that every cluster is born with.</summary>
/// <param name="Resource">flowschemas or prioritylevelconfigurations.</param>
/// <param name="Name">Its name.</param>
/// <param name="IsMandatory">Its spec is always put back; else only while its annotation allows.</param>
/// <param name="Spec">Its spec as JSON.</param>
internal sealed record FlowControlDefault(string Resource, string Name, bool IsMandatory, string Spec)
{
    internal ApiObject DecodeSpec() => JsonCodec.Decode(Encoding.UTF8.GetBytes(Spec), null, DecodeOptions.Free, null);
}

/// <summary>Upstream's suggested and mandatory flow schemas and priority levels.</summary>
internal static class FlowControlDefaults
{
    internal const string Levels = "prioritylevelconfigurations";
    internal const string Schemas = "flowschemas";

    internal const string Exempt = "exempt";
    internal const string CatchAll = "catch-all";

    private const string AllPaths = """{"verbs":["*"],"nonResourceURLs":["*"]}""";
    private const string AllResources = """{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true,"namespaces":["*"]}""";

    private static readonly string s_everybody = $"{Group("system:unauthenticated")},{Group("system:authenticated")}";

    /// <summary>In the order in which they are written: levels before the schemas that refer to them.</summary>
    internal static IReadOnlyList<FlowControlDefault> All { get; } =
    [
        Level("system", shares: 30, lendable: 33, queues: 64, hand: 6),
        Level("node-high", shares: 40, lendable: 25, queues: 64, hand: 6),
        Level("leader-election", shares: 10, lendable: 0, queues: 16, hand: 4),
        Level("workload-high", shares: 40, lendable: 50, queues: 128, hand: 6),
        Level("workload-low", shares: 100, lendable: 90, queues: 128, hand: 6),
        Level("global-default", shares: 20, lendable: 50, queues: 128, hand: 6),
        new(Levels, Exempt, true, """{"type":"Exempt","exempt":{"nominalConcurrencyShares":0,"lendablePercent":0}}"""),
        new(Levels, CatchAll, true, """{"type":"Limited","limited":{"nominalConcurrencyShares":5,"limitResponse":{"type":"Reject"},"lendablePercent":0}}"""),

        Schema("system-nodes", "system", 500, "ByUser", Group("system:nodes"), AllResources, AllPaths),
        Schema("system-node-high", "node-high", 400, "ByUser", Group("system:nodes"),
            """{"verbs":["*"],"apiGroups":[""],"resources":["nodes","nodes/status"],"clusterScope":true,"namespaces":["*"]},{"verbs":["*"],"apiGroups":["coordination.k8s.io"],"resources":["leases"],"namespaces":["*"]}""", ""),
        Schema("probes", Exempt, 2, "", s_everybody, "", """{"verbs":["get"],"nonResourceURLs":["/healthz","/readyz","/livez"]}"""),
        Schema("system-leader-election", "leader-election", 100, "ByUser",
            $"{User("system:kube-controller-manager")},{User("system:kube-scheduler")},{Account("kube-system", "*")}",
            """{"verbs":["get","create","update"],"apiGroups":["coordination.k8s.io"],"resources":["leases"],"namespaces":["*"]}""", ""),
        Schema("kube-controller-manager", "workload-high", 800, "ByNamespace", User("system:kube-controller-manager"), AllResources, AllPaths),
        Schema("kube-scheduler", "workload-high", 800, "ByNamespace", User("system:kube-scheduler"), AllResources, AllPaths),
        Schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", Account("kube-system", "*"), AllResources, AllPaths),
        Schema("service-accounts", "workload-low", 9000, "ByUser", Group("system:serviceaccounts"), AllResources, AllPaths),
        Schema("global-default", "global-default", 9900, "ByUser", s_everybody, AllResources, AllPaths),
        Schema(Exempt, Exempt, 1, "", Group("system:masters"), AllResources, AllPaths, isMandatory: true),
        Schema(CatchAll, CatchAll, 10000, "ByUser", s_everybody, AllResources, AllPaths, isMandatory: true),
    ];

    private static FlowControlDefault Level(string name, int shares, int lendable, int queues, int hand) => new(Levels, name, false, string.Create(
        CultureInfo.InvariantCulture,
        $"{{\"type\":\"Limited\",\"limited\":{{\"nominalConcurrencyShares\":{shares},\"limitResponse\":{{\"type\":\"Queue\",\"queuing\":{{\"queues\":{queues},\"handSize\":{hand},\"queueLengthLimit\":50}}}},\"lendablePercent\":{lendable}}}}}"));

    private static FlowControlDefault Schema(
        string name, string level, int precedence, string distinguisher, string subjects, string resources, string paths, bool isMandatory = false)
    {
        var method = distinguisher.Length == 0 ? "" : $",\"distinguisherMethod\":{{\"type\":\"{distinguisher}\"}}";
        var resourceRules = resources.Length == 0 ? "" : $",\"resourceRules\":[{resources}]";
        var pathRules = paths.Length == 0 ? "" : $",\"nonResourceRules\":[{paths}]";
        return new(Schemas, name, isMandatory, string.Create(
            CultureInfo.InvariantCulture,
            $"{{\"priorityLevelConfiguration\":{{\"name\":\"{level}\"}},\"matchingPrecedence\":{precedence}{method},\"rules\":[{{\"subjects\":[{subjects}]{resourceRules}{pathRules}}}]}}"));
    }

    private static string Group(string name) => $"{{\"kind\":\"Group\",\"group\":{{\"name\":\"{name}\"}}}}";

    private static string User(string name) => $"{{\"kind\":\"User\",\"user\":{{\"name\":\"{name}\"}}}}";

    private static string Account(string ns, string name) => $"{{\"kind\":\"ServiceAccount\",\"serviceAccount\":{{\"namespace\":\"{ns}\",\"name\":\"{name}\"}}}}";
}
