namespace K3sFast.EndToEnd.Tests;

/// <summary>A cluster of one node whose Services are translated at the socket.</summary>
public sealed class EbpfCluster() : OneNodeCluster("ebpf1", 61, "kube-proxy-arg:", "  - proxy-mode=ebpf")
{
    /// <summary>Where this node's programs are pinned.</summary>
    internal string Pins { get; private set; } = "";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        // net:[4026532314]
        var name = (await Node.RunAsync("readlink", "/proc/self/ns/net")).Ok().Trim();
        Pins = "/sys/fs/bpf/k3sfast/" + name[(name.IndexOf('[') + 1)..^1];
        if (File.ReadLines(Node.LogFile).FirstOrDefault(static line => line.Contains("proxy-mode=ebpf is not possible")) is { } missing) Assert.Skip(missing);
    }

    private protected override void CheckCleanedUp()
    {
        if (Pins.Length > 0 && Directory.Exists(Pins)) throw new InvalidOperationException($"{Pins} is left after the clean-up");
    }
}
