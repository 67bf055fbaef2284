using BenchmarkDotNet.Attributes;
using K3sFast.ApiMachinery;
using K3sFast.ApiServer;

namespace K3sFast.Benchmarks.ApiServer;

/// <summary>What every request pays before its handler: parse the target, find the resource, decide. One operation = one request; 1e9/ns = requests/s.</summary>
[MemoryDiagnoser]
public class RequestPathBenchmarks
{
    private readonly byte[] _target = "/apis/apps/v1/namespaces/default/deployments/web?fieldManager=kubectl"u8.ToArray();
    private readonly RbacPolicy _policy = new();
    private readonly FlowConfiguration _flows = MakeFlows();
    private readonly UserInfo _user = new("system:serviceaccount:default:robot", ["system:serviceaccounts", UserInfo.AuthenticatedGroup]);

    [GlobalSetup]
    public void Setup()
    {
        using var role = JsonCodec.Decode("""{"rules":[{"apiGroups":["apps"],"resources":["deployments"],"verbs":["get","list"]}]}"""u8, null, DecodeOptions.Free, null);
        using var binding = JsonCodec.Decode("""{"roleRef":{"kind":"ClusterRole","name":"r"},"subjects":[{"kind":"Group","name":"system:serviceaccounts"}]}"""u8, null, DecodeOptions.Free, null);
        _policy.SetClusterRole("r", role.Root);
        _policy.SetBinding("", "b", binding.Root);
    }

    /// <summary>The target's bytes to a RequestInfo.</summary>
    [Benchmark(Baseline = true)]
    public int ParseTarget() => RequestInfo.TryParse(_target, _target.Length, "GET", out var info) ? info.Name.Length : 0;

    /// <summary>The resource of a parsed target in the schema.</summary>
    [Benchmark]
    public ResourceInfo? FindResource() =>
        RequestInfo.TryParse(_target, _target.Length, "GET", out var info) ? Schema.BuiltIn.FindResource(info.Group, info.Version, info.Resource) : null;

    /// <summary>A remembered RBAC decision.</summary>
    [Benchmark]
    public bool Authorize()
    {
        RequestInfo.TryParse(_target, _target.Length, "GET", out var info);
        return _policy.Authorize(AuthorizationAttributes.Of(info, _user)).IsAllowed;
    }

    /// <summary>A seat by priority and fairness, taken at once and given back: the last schema but two matches, 128 queues by hands of 6.</summary>
    [Benchmark]
    public int EnterAndLeave()
    {
        RequestInfo.TryParse(_target, _target.Length, "GET", out var info);
        var schema = _flows.Match(info, _user);
        schema.Level.Enter(schema.HashOf(info, _user), 1, out var hold, out _);
        schema.Level.Leave(hold);
        return hold.Seats;
    }

    private static FlowConfiguration MakeFlows()
    {
        var levels = new Dictionary<string, PriorityLevel>();
        foreach (var wanted in FlowControlDefaults.All.Where(static wanted => wanted.Resource == FlowControlDefaults.Levels))
        {
            var level = new PriorityLevel(wanted.Name, TimeProvider.System);
            level.Configure("u", wanted.Name == FlowControlDefaults.Exempt, 128, 6, 50);
            level.SetLimit(100, 10);
            levels.Add(wanted.Name, level);
        }
        var schemas = new List<FlowSchemaMatcher>();
        foreach (var wanted in FlowControlDefaults.All.Where(static wanted => wanted.Resource == FlowControlDefaults.Schemas))
        {
            using var document = JsonCodec.Decode(
                System.Text.Encoding.UTF8.GetBytes($"{{\"metadata\":{{\"name\":\"{wanted.Name}\"}},\"spec\":{wanted.Spec}}}"), null, DecodeOptions.Free, null);
            schemas.Add(new FlowSchemaMatcher(document.Root, levels[document.Root["spec"u8]["priorityLevelConfiguration"u8]["name"u8].AsString()]));
        }
        FlowSchemaMatcher[] ordered = [.. schemas.OrderBy(static schema => schema.Precedence)];
        return new FlowConfiguration(ordered, ordered[^1], levels);
    }
}
