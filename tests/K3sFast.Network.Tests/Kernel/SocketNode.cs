using System.Net;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Ebpf;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>A node whose Services are translated at the socket; its programs mind its own namespaces only.</summary>
internal sealed class SocketNode : IDisposable
{
    internal SocketNode(params string[] podCidrs)
    {
        TestNode.RequirePrivilege();
        Node = new TestNode(podCidrs);
        Start();
    }

    internal TestNode Node { get; }
    internal SocketServices Services { get; private set; } = null!;
    internal string Pins => SocketPrograms.DirectoryOf(NamespacePaths.NameOf(Node.Namespace.Path));

    internal void Start()
    {
        try
        {
            Services = new SocketServices(Node.Namespace, hasLocalhostPorts: true, _ => true, NullLogger.Instance);
        }
        catch (EbpfUnavailableException e)
        {
            Node.Dispose();
            Assert.Skip("needs " + e.Message);
        }
    }

    internal void Stop() => Services.Dispose();

    internal TestPod AddPod()
    {
        var pod = Node.AddPod();
        Services.AddNamespace(pod.Namespace);
        return pod;
    }

    internal void Set(params ServicePort[] ports)
    {
        Services.Set("default/" + ports[0].Name, ports);
        Services.Flush();
    }

    public void Dispose()
    {
        Services.Dispose();
        Node.Dispose();
    }

    /// <summary>A service port whose endpoints are pods of this node.</summary>
    internal static ServicePort Port(IPAddress clusterIP, byte protocol, params IPAddress[] endpoints) => new()
    {
        Namespace = "default", Name = "web", Protocol = protocol, Port = 80, ClusterIP = clusterIP,
        Endpoints = [.. endpoints.Select(address => new Endpoint(address, 8080, IsLocal: true))],
    };
}
