using k8s.Models;
using K3sFast.Network.Proxy;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>The rules for Services on a node of a test's own.</summary>
internal sealed class NodeServices(TestNode node) : IDisposable
{
    internal ProxyTables Tables { get; } = new(node.Options, NullLogger.Instance);

    internal void Set(V1Service service, params V1EndpointSlice[] slices) => Tables.Apply([($"default/{service.Metadata.Name}", service, slices)]);

    public void Dispose() => Tables.Dispose();
}
