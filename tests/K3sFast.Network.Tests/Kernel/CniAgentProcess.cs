using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Cni;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>The CNI part of an agent in a process of its own, which can be killed at any instant. It is this very program, told so by its environment.</summary>
internal sealed class CniAgentProcess : IDisposable
{
    private const string Marker = "K3SFAST_TEST_CNI_AGENT";

    private readonly Process _process;

    private CniAgentProcess(Process process) => _process = process;

    /// <summary>Starts it in the node's namespace and waits until it listens.</summary>
    internal static async Task<CniAgentProcess> StartAsync(TestNode node, string folder, string podCidr)
    {
        var start = new ProcessStartInfo("nsenter") { RedirectStandardOutput = true };
        foreach (var argument in (string[])[$"--net={node.Namespace.Path}", Environment.ProcessPath!]) start.ArgumentList.Add(argument);
        start.Environment[Marker] = $"{folder}|{podCidr}";
        var process = Process.Start(start)!;
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        Assert.Equal("listening", await process.StandardOutput.ReadLineAsync(deadline.Token));
        return new CniAgentProcess(process);
    }

    /// <summary>Ends it without a chance to say anything.</summary>
    internal void Kill()
    {
        _process.Kill();
        _process.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited) Kill();
        _process.Dispose();
    }

    [ModuleInitializer]
    internal static void RunIfAsked()
    {
        if (Environment.GetEnvironmentVariable(Marker)?.Split('|') is not [var folder, var podCidr]) return;
        var options = new NetworkOptions
        {
            NodeName = "node", NodeIPs = [TestNode.NodeIP], ClusterCidrs = [IPNetwork.Parse("10.42.0.0/16")], ServiceCidrs = [], CniConfDir = folder, CniBinDir = folder, StateDir = folder,
        };
        using var host = RouteSocket.Open();
        using var hostPorts = new HostPorts.HostPortTable(options, NullLogger.Instance);
        var store = new AttachmentStore(Path.Combine(folder, "state"), []);
        hostPorts.Restore(store.List());
        var handler = new CniHandler(store, new PodLinks(host, null), hostPorts, NullLogger.Instance);
        handler.Reconcile(host.ListLinks().Select(static link => link.Name).ToHashSet());
        handler.Configure(new PodNetworkSettings([IPNetwork.Parse(podCidr)], 1400, []));
        var server = new CniServer(Path.Combine(folder, "cni.sock"), handler, NullLogger.Instance);
        using var listener = server.Listen();
        Console.WriteLine("listening");
        server.ServeAsync(listener, CancellationToken.None).GetAwaiter().GetResult();
    }
}
