using K3sFast.Network.Cni;

namespace K3sFast.Network.HostPorts;

/// <summary>Ports of the node that lead to pods.</summary>
internal sealed class HostPortTable
{
    internal void Add(PodAttachment attachment) =>
        throw new CniException(CniException.Internal, "host ports are not carried yet", string.Join(',', attachment.PortMappings.Select(port => port.HostPort)));

    internal void Remove(PodAttachment attachment) => _ = attachment;
}
