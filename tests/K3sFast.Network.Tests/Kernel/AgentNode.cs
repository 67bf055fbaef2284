using System.Net;
using K3sFast.Client;
using K3sFast.Client.Testing;
using K3sFast.Network.Proxy;
using K3sFast.Network.Tests.Proxy;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>A node and an API in memory; agents run on it one after the other.</summary>
internal sealed class AgentNode : IDisposable
{
    private readonly List<IDisposable> _servers = [];

    internal AgentNode(params string[] podCidrs)
    {
        TestNode.RequirePrivilege();
        Node = new TestNode(podCidrs);
    }

    internal TestNode Node { get; }

    internal InMemoryApi Api { get; } = new();

    internal NetworkOptions Options => Node.Options with { StateDir = Path.Combine(Node.Directory, "agent") };

    /// <summary>One with Service web, port 80 at 10.43.0.80, of one pod of the node.</summary>
    internal static async Task<AgentNode> WithServiceAsync()
    {
        var node = new AgentNode();
        var pod = node.Node.AddPod();
        node.Serve(pod);
        await node.CreateServiceAsync("web", "10.43.0.80", pod.Address);
        return node;
    }

    /// <summary>A pod says "web" on port 8080.</summary>
    internal void Serve(TestPod pod) => _servers.Add(Traffic.ServeTcp(pod.Namespace, 8080, "web"));

    internal async Task CreateServiceAsync(string name, string clusterIP, IPAddress endpoint)
    {
        await Api.Client.CreateAsync(Resources.Services, TestServices.Service(name, clusterIP, 80), TestContext.Current.CancellationToken);
        await Api.Client.CreateAsync(Resources.EndpointSlices, TestServices.Slice(name, 8080, (endpoint, "node")), TestContext.Current.CancellationToken);
    }

    internal RunningAgent Run(ProxyMode mode) => new(Options with { Proxy = new() { Mode = mode } }, Api);

    internal RunningAgent Run(NetworkOptions? options = null) => new(options ?? Options, Api);

    /// <summary>Whether a Service answers to the node itself.</summary>
    internal Task<bool> AnswersAsync(string address = "10.43.0.80") => Traffic.AnswersAsync(Node.Namespace, IPAddress.Parse(address), 80);

    /// <summary>A Service answers to the node itself.</summary>
    internal Task AssertAnswersAsync(string address = "10.43.0.80") => Traffic.AssertAnswersAsync(Node.Namespace, IPAddress.Parse(address), 80);

    /// <summary>Waits until a Service answers, or (false) no longer does.</summary>
    internal Task UntilAnswersAsync(bool isAnswered = true, string address = "10.43.0.80", RunningAgent? agent = null) =>
        LanNode.Until(async () => await AnswersAsync(address) == isAnswered, $"{address} {(isAnswered ? "does not answer" : "answers")}\n{agent?.Log}");

    internal string Nft(params string[] arguments) => TestNode.Execute(Node.Namespace, "nft", "", null, arguments).Output;

    public void Dispose()
    {
        foreach (var server in _servers) server.Dispose();
        Node.Dispose();
    }
}

/// <summary>An agent that runs until it is disposed.</summary>
internal sealed class RunningAgent : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;

    internal RunningAgent(NetworkOptions options, InMemoryApi api) => _running = new NetworkAgent(options, api.Client, api.Client, Log).RunAsync(_stop.Token);

    internal ListLogger Log { get; } = new();

    internal Task UntilServicesSyncedAsync() => UntilAsync(() => Log.HasSyncedServices, "no rules of services are written");

    internal Task UntilLoggedAsync(string words) => UntilAsync(() => Log.Has(words), $"the log has no \"{words}\"");

    internal Task UntilAsync(Func<bool> condition, string what) => LanNode.Until(() => Task.FromResult(condition()), $"{what}\n{Log}");

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        _stop.Dispose();
    }
}
