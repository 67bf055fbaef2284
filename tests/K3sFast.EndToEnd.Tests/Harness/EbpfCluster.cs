namespace K3sFast.EndToEnd.Tests;

/// <summary>A dual-stack cluster of a server and an agent whose Services are carried by programs.</summary>
public sealed class EbpfCluster() : OneNodeCluster(
    "ebpf1", 61, AgentCluster.DualStack(61), "cluster-cidr: 10.42.0.0/16,fd00:42::/56", "service-cidr: 10.43.0.0/16,fd00:43::/112", Mode)
{
    private const string Mode = "kube-proxy-arg: [proxy-mode=ebpf]";

    private ServerNode? _agent;
    private string _agentPins = "";

    /// <summary>The other node.</summary>
    internal ServerNode Agent => _agent ?? throw new InvalidOperationException("the cluster did not start");

    internal string Outside => Lan.Outside;

    /// <summary>Where this node's programs are pinned.</summary>
    internal string Pins { get; private set; } = "";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Pins = await FindPinsAsync(Node);
        var token = (await File.ReadAllTextAsync(Path.Combine(Node.DataDir, "server", "node-token"))).Trim();
        _agent = await Cluster.StartNodeAsync(Lan, "ebpf2", 62, Node, AgentCluster.DualStack(62), $"token: {token}", Mode);
        await _agent.WaitReadyAsync();
        _agentPins = await FindPinsAsync(_agent);
        if (File.ReadLines(Node.LogFile).FirstOrDefault(static line => line.Contains("proxy-mode=ebpf is not possible")) is { } missing) Assert.Skip(missing);
    }

    public override async ValueTask DisposeAsync()
    {
        try
        {
            if (_agent is not null)
            {
                await _agent.DisposeAsync();
                await CheckCleanedUpAsync(_agent, _agentPins);
            }
        }
        finally
        {
            if (_agent is not null && Environment.GetEnvironmentVariable("K3SFAST_KEEP") is not { Length: > 0 }) Cluster.DeleteFolder(_agent.Folder);
            await base.DisposeAsync();
        }
    }

    private protected override Task CheckCleanedUpAsync() => CheckCleanedUpAsync(Node, Pins);

    // Nothing of the mode is in the kernel, and no rule.
    private static async Task CheckCleanedUpAsync(ServerNode node, string pins)
    {
        var left = pins.Length > 0 && Directory.Exists(pins) ? pins + " " : "";
        if ((await node.RunAsync("tc", "qdisc", "show", "dev", "eth0")).Output.Contains("clsact", StringComparison.Ordinal)) left += "clsact on eth0 ";
        left += (await node.RunAsync("nft", "list", "ruleset")).Output;
        if (left.Length > 0) throw new InvalidOperationException($"{left} is left after the clean-up");
    }

    private static async Task<string> FindPinsAsync(ServerNode node)
    {
        // net:[4026532314]
        var name = (await node.RunAsync("readlink", "/proc/self/ns/net")).Ok().Trim();
        return "/sys/fs/bpf/k3sfast/" + name[(name.IndexOf('[') + 1)..^1];
    }
}
