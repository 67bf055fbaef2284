using K3sFast.Configuration;
using K3sFast.Kubelet;
using K3sFast.Network;
using Microsoft.Extensions.Logging;

namespace K3sFast.Server;

/// <summary>What runs on every node, server or agent: runtime, network, kubelet.</summary>
internal static class NodeParts
{
    /// <summary>Starts all; each is kept running.</summary>
    public static void Start(ComponentRunner runner, NodeConfig config, ClusterSettings cluster, NodeAccess access, NodeRuntime runtime, ILoggerFactory loggers)
    {
        if (runtime.Supervisor is { } supervisor)
            runner.Start("containerd", supervisor.RunAsync);
        if (runtime.Importer is { } importer)
            runner.Start("images", importer.RunAsync);

        var network = NodeNetwork.Options(config, cluster);
        runner.Start("network", ct => new NetworkAgent(network, access.Proxy, access.Controller, loggers).RunAsync(ct));

        var kubelet = NodeKubelet.Options(config, cluster, access, runtime.Socket, NodeResolver.Choose(config));
        runner.Start("kubelet", ct => new KubeletAgent(kubelet, access.Kubelet, loggers).RunAsync(ct));
    }

    /// <summary>Tells of component arguments that nobody asked for.</summary>
    public static void WarnUnused(ILogger log, params ComponentArguments[] arguments)
    {
        foreach (var words in arguments)
        {
            foreach (var warning in words.UnusedWarnings())
                log.Warning(warning);
        }
    }
}
