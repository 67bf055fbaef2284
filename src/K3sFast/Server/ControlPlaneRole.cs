using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Server;

/// <summary>
/// Marks the server's own node as control plane. The kubelet may not give itself such a role (NodeRestriction), so the server does, as k3s does.
/// </summary>
internal sealed class ControlPlaneRole(string nodeName, ApiClient client, ILoggerFactory loggers)
{
    private const string Label = "node-role.kubernetes.io/control-plane";

    private static readonly byte[] s_patch = """{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":"true"}}}"""u8.ToArray();

    /// <summary>Puts the label back whenever it is missing, until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var queue = new WorkQueue<string>();
        var node = new Informer<V1Node>(
            client, Resources.Nodes, null, new ListOptions(FieldSelector: "metadata.name=" + nodeName), loggers.CreateLogger("K3sFast.Client.Informer"));
        node.AddHandler(value =>
        {
            if (value.Metadata.Labels?.ContainsKey(Label) != true) queue.Add(value.Metadata.Name);
        });
        var reconciler = new Reconciler<string>("control-plane-role", queue, PatchAsync, loggers.CreateLogger("K3sFast.Server"));
        await Task.WhenAll(node.RunAsync(cancellationToken), reconciler.RunAsync(1, cancellationToken)).ConfigureAwait(false);

        async ValueTask PatchAsync(string name, CancellationToken stop)
        {
            if (node.Get(null, name) is null) return;
            await client.PatchAsync(Resources.Nodes, null, name, PatchBody.Merge(s_patch), stop).ConfigureAwait(false);
        }
    }
}
