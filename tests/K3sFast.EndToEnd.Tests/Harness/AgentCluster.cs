namespace K3sFast.EndToEnd.Tests;

/// <summary>Tests that share an <see cref="AgentCluster"/>: one after the other.</summary>
[CollectionDefinition(nameof(AgentCluster))]
public sealed class AgentClusterTests : ICollectionFixture<AgentCluster>;

/// <summary>A dual-stack cluster of one server and two agents that its tests may stop and kill.</summary>
public sealed class AgentCluster : IAsyncLifetime
{
    private readonly CancellationTokenSource _stop = new();
    private readonly List<ServerNode> _nodes = [];
    private Lan? _lan;

    internal ServerNode Server => _nodes.Count > 0 ? _nodes[0] : throw new InvalidOperationException("the cluster did not start");

    /// <summary>Joined with the content of server/node-token.</summary>
    internal ServerNode First => _nodes[1];

    /// <summary>Joined with the secret alone, from a file.</summary>
    internal ServerNode Second => _nodes[2];

    internal Lan Lan => _lan!;

    internal static string DualStack(int number) => $"node-ip: 192.0.2.{number},2001:db8::{number}";

    internal string Token => File.ReadAllText(Path.Combine(Server.DataDir, "server", "node-token")).Trim();

    public async ValueTask InitializeAsync()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: network namespaces, containerd");
        _lan = await Lan.CreateAsync();
        _lan.ServeNames(_stop.Token);
        _nodes.Add(await Cluster.StartNodeAsync(_lan, "s1", 41, null, DualStack(41), "cluster-cidr: 10.42.0.0/16,fd00:42::/56", "service-cidr: 10.43.0.0/16,fd00:43::/112"));
        await Server.WaitReadyAsync();
        var secret = Path.Combine(Server.Folder, "secret");
        await File.WriteAllTextAsync(secret, Token[(Token.LastIndexOf(':') + 1)..]);
        _nodes.Add(await AddAgentAsync("a1", 42, $"token: {Token}", "node-label: [\"part=first\"]", "node-taint: [\"only=tolerant:PreferNoSchedule\"]"));
        _nodes.Add(await AddAgentAsync("a2", 43, $"token-file: {secret}"));
        await Task.WhenAll(First.WaitReadyAsync(), Second.WaitReadyAsync());
    }

    /// <summary>Links, routes and rules of a node's namespace.</summary>
    internal static async Task<string> LookAsync(string networkNamespace)
    {
        var all = "";
        foreach (var command in (string[][])[["nft", "list", "ruleset"], ["ip", "-o", "link", "show"], ["ip", "route", "show"], ["ip", "-6", "route", "show"]])
            all += (await Shell.RunAsync(Lan.Inside(networkNamespace, command))).Ok() + "\n--\n";
        return all;
    }

    /// <summary>An agent, started.</summary>
    internal async Task<ServerNode> AddAgentAsync(string name, int number, params string[] settings)
    {
        var node = await PrepareAgentAsync(name, number, settings);
        node.Start();
        return node;
    }

    /// <summary>An agent, not started.</summary>
    internal Task<ServerNode> PrepareAgentAsync(string name, int number, params string[] settings) =>
        Cluster.PrepareNodeAsync(_lan!, name, number, Server, [DualStack(number), .. settings]);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var node in Enumerable.Reverse(_nodes))
        {
            await node.DisposeAsync();
            if (Environment.GetEnvironmentVariable("K3SFAST_KEEP") is not { Length: > 0 }) Cluster.DeleteFolder(node.Folder);
        }
        if (_lan is not null) await _lan.DisposeAsync();
        _stop.Dispose();
    }
}
