namespace K3sFast.ApiMachinery;

/// <summary>Services: their number, their node ports, and those that want a load balancer.</summary>
internal sealed class ServiceQuota : QuotaEvaluator
{
    internal static ServiceQuota Instance { get; } = new();

    public override string Group => "";

    public override string Resource => "services";

    public override bool Handles(bool isCreate, string subresource, ApiNode obj, ApiNode old) => subresource.Length == 0;

    public override bool Uses(string resourceName) => resourceName is "count/services" or "services" or "services.nodeports" or "services.loadbalancers";

    public override ResourceAmounts Usage(ApiNode obj, DateTimeOffset now)
    {
        var spec = obj["spec"u8];
        var usage = One("count/services", "services");
        var isBalanced = spec["type"u8].Equals("LoadBalancer"u8);
        long ports = 0;
        if (spec["type"u8].Equals("NodePort"u8) || isBalanced && spec["allocateLoadBalancerNodePorts"u8].AsBool(fallback: true))
        {
            ports = spec["ports"u8].Count;
        }
        else if (isBalanced)
        {
            foreach (var port in spec["ports"u8].Elements)
                ports += port["nodePort"u8].AsInt64() != 0 ? 1 : 0;
        }
        usage["services.nodeports"] = Quantity.FromInt64(ports);
        usage["services.loadbalancers"] = Quantity.FromInt64(isBalanced ? 1 : 0);
        return usage;
    }
}
