using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer.Tests;

public sealed class FlowSchemaTests
{
    private static readonly UserInfo s_account = UserInfo.ServiceAccount("kube-system", "dns");
    private static readonly UserInfo s_node = UserInfo.Node("n1");

    [Theory]
    [InlineData("GET", "/api/v1/namespaces/default/pods", "node", "system-nodes")]
    [InlineData("PATCH", "/api/v1/nodes/n1/status", "node", "system-node-high")]
    [InlineData("GET", "/api/v1/nodes/n1", "node", "system-node-high")]
    [InlineData("PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", "node", "system-node-high")]
    [InlineData("GET", "/apis/coordination.k8s.io/v1/leases", "node", "system-nodes")]
    [InlineData("PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x", "account", "system-leader-election")]
    [InlineData("DELETE", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x", "account", "kube-system-service-accounts")]
    [InlineData("GET", "/healthz", "account", "probes")]
    [InlineData("GET", "/healthz/etcd", "account", "probes")]
    [InlineData("GET", "/healthzz", "account", "kube-system-service-accounts")]
    [InlineData("GET", "/api/v1/pods", "other-account", "service-accounts")]
    [InlineData("GET", "/api/v1/pods", "kube-system-else", "service-accounts")]
    [InlineData("GET", "/api/v1/pods", "bob", "global-default")]
    [InlineData("GET", "/api/v1/pods", "admin", "exempt")]
    [InlineData("GET", "/version", "bob", "global-default")]
    [InlineData("GET", "/api/v1/pods", "nobody", "catch-all")]
    public void Request_OfAUser_IsAFlowOfTheFirstSchema(string method, string target, string user, string expected)
    {
        var text = Encoding.UTF8.GetBytes(target);
        Assert.True(RequestInfo.TryParse(text, text.Length, method, out var info));
        var who = user switch
        {
            "node" => s_node,
            "account" => s_account,
            "other-account" => UserInfo.ServiceAccount("default", "robot"),
            "kube-system-else" => UserInfo.ServiceAccount("kube-system-else", "robot"),
            "admin" => UserInfo.Admin,
            "nobody" => new UserInfo("nobody", []),
            _ => new UserInfo(user, [UserInfo.AuthenticatedGroup]),
        };
        Assert.Equal(expected, Defaults().Match(info, who).Name);
    }

    [Fact]
    public void Matching_OfARequest_AllocatesNothing()
    {
        var configuration = Defaults();
        var text = "/api/v1/namespaces/default/pods/x"u8.ToArray();
        RequestInfo.TryParse(text, text.Length, "GET", out var info);
        ulong sum = 0;
        Run();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Run();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.NotEqual(0UL, sum);

        void Run()
        {
            for (var i = 0; i < 2000; i++)
            {
                var schema = configuration.Match(info, s_account);
                sum += schema.HashOf(info, s_account);
            }
        }
    }

    private static FlowConfiguration Defaults()
    {
        var levels = FlowControlDefaults.All.Where(static wanted => wanted.Resource == FlowControlDefaults.Levels)
            .ToDictionary(static wanted => wanted.Name, static wanted => new PriorityLevel(wanted.Name, TimeProvider.System));
        var schemas = new List<FlowSchemaMatcher>();
        foreach (var wanted in FlowControlDefaults.All.Where(static wanted => wanted.Resource == FlowControlDefaults.Schemas))
        {
            using var document = JsonCodec.Decode(
                Encoding.UTF8.GetBytes($$$"""{"metadata":{"name":"{{{wanted.Name}}}","uid":"u"},"spec":{{{wanted.Spec}}}}"""), null, DecodeOptions.Free, null);
            schemas.Add(new FlowSchemaMatcher(document.Root, levels[document.Root["spec"u8]["priorityLevelConfiguration"u8]["name"u8].AsString()]));
        }
        schemas.Sort(static (left, right) => left.Precedence != right.Precedence ? left.Precedence.CompareTo(right.Precedence) : string.CompareOrdinal(left.Name, right.Name));
        return new FlowConfiguration([.. schemas], schemas.Single(static schema => schema.Name == "catch-all"), levels);
    }
}
