namespace K3sFast.EndToEnd.Tests;

/// <summary>A cluster of one node that a few tests have for themselves.</summary>
public abstract class OneNodeCluster : IAsyncLifetime
{
    private readonly string _name;
    private readonly int _number;
    private readonly string[] _settings;
    private readonly CancellationTokenSource _stop = new();
    private Lan? _lan;
    private ServerNode? _node;

    /// <summary>A node named and numbered so, with these lines in its configuration.</summary>
    private protected OneNodeCluster(string name, int number, params string[] settings) => (_name, _number, _settings) = (name, number, settings);

    internal ServerNode Node => _node ?? throw new InvalidOperationException("the cluster did not start");

    internal Lan Lan => _lan!;

    /// <summary>kubectl on the node; must succeed.</summary>
    internal async Task<string> K(params string[] arguments) => (await Try(arguments)).Ok();

    /// <summary>kubectl on the node; may fail.</summary>
    internal Task<CommandResult> Try(params string[] arguments) => Node.KubectlAsync(arguments);

    /// <summary>kubectl apply of a manifest.</summary>
    internal async Task Apply(string yaml) => (await Node.KubectlAsync(["apply", "-f", "-"], yaml)).Ok();

    public virtual async ValueTask InitializeAsync()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: network namespaces, containerd");
        _lan = await Lan.CreateAsync();
        _lan.ServeNames(_stop.Token);
        _node = await Cluster.StartNodeAsync(_lan, _name, _number, null, _settings);
        await _node.WaitReadyAsync();
    }

    public virtual async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        try
        {
            if (_node is not null)
            {
                await _node.DisposeAsync();
                await CheckCleanedUpAsync();
            }
        }
        finally
        {
            if (_node is not null && Environment.GetEnvironmentVariable("K3SFAST_KEEP") is not { Length: > 0 }) Cluster.DeleteFolder(_node.Folder);
            if (_lan is not null) await _lan.DisposeAsync();
            _stop.Dispose();
        }
        GC.SuppressFinalize(this);
    }

    /// <summary>Fails when something is left of a node that was stopped and cleaned up.</summary>
    private protected virtual Task CheckCleanedUpAsync() => Task.CompletedTask;
}
