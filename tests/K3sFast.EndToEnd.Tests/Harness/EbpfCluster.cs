namespace K3sFast.EndToEnd.Tests;

/// <summary>A cluster of one node whose Services are translated at the socket.</summary>
public sealed class EbpfCluster : IAsyncLifetime
{
    private readonly CancellationTokenSource _stop = new();
    private Lan? _lan;
    private ServerNode? _node;

    internal ServerNode Node => _node ?? throw new InvalidOperationException("the cluster did not start");

    internal string Outside => _lan!.Outside;

    /// <summary>Where this node's programs are pinned.</summary>
    internal string Pins { get; private set; } = "";

    public async ValueTask InitializeAsync()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: network namespaces, containerd");
        _lan = await Lan.CreateAsync();
        _lan.ServeNames(_stop.Token);
        _node = await Cluster.StartNodeAsync(_lan, "ebpf1", 61, null, "kube-proxy-arg:", "  - proxy-mode=ebpf");
        await _node.WaitReadyAsync();
        // net:[4026532314]
        var name = (await _node.RunAsync("readlink", "/proc/self/ns/net")).Ok().Trim();
        Pins = "/sys/fs/bpf/k3sfast/" + name[(name.IndexOf('[') + 1)..^1];
        if (File.ReadLines(_node.LogFile).FirstOrDefault(static line => line.Contains("proxy-mode=ebpf is not possible")) is { } missing) Assert.Skip(missing);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        if (_node is not null)
        {
            await _node.DisposeAsync();
            // After the clean-up nothing of the mode is in the kernel.
            var isLeft = Directory.Exists(Pins);
            if (Environment.GetEnvironmentVariable("K3SFAST_KEEP") is not { Length: > 0 }) Cluster.DeleteFolder(_node.Folder);
            if (_lan is not null) await _lan.DisposeAsync();
            if (isLeft) throw new InvalidOperationException($"{Pins} is left after the clean-up");
        }
        _stop.Dispose();
    }
}
