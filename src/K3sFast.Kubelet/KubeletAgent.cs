using K3sFast.Client;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet;

/// <summary>The node agent: registers the node, runs the pods that are bound to it through the container runtime, and serves the node's API.</summary>
public sealed class KubeletAgent(KubeletOptions options, ApiClient client, ILoggerFactory loggers)
{
    /// <summary>Runs until cancelled. Containers keep running afterwards; the next start finds and keeps them.</summary>
    public Task RunAsync(CancellationToken cancellationToken)
    {
        _ = (options, client, loggers, cancellationToken);
        throw new NotSupportedException("the node agent cannot run pods yet");
    }
}
