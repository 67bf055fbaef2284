using System.Net;
using System.Net.NetworkInformation;
using System.Security.Cryptography;
using System.Text;

namespace K3sFast.Network.Cni;

/// <summary>A pod's place in the network: which container, which interface, which addresses, which host ports. Immutable.</summary>
internal sealed record PodAttachment(string ContainerId, string InterfaceName, IReadOnlyList<IPAddress> Addresses, IReadOnlyList<PortMapping> PortMappings)
{
    /// <summary>Every link of ours on the node starts so; rules that mean pods' links match it.</summary>
    internal const string LinkPrefix = "k3sf";

    /// <summary>The start of the names of devices that hold pods to their bandwidth; the rest is that of the pod's link.</summary>
    internal const string ShaperPrefix = "k3si";

    /// <summary>The CNI network that it belongs to.</summary>
    internal string NetworkName { get; init; } = CniRequest.DefaultNetwork;

    /// <summary>How fast the pod may be.</summary>
    internal PodBandwidth Bandwidth { get; init; }

    /// <summary>Name of the device that what the pod sends goes through, if that is limited.</summary>
    internal string ShaperName => ShaperNameOf(HostLinkName);

    internal static string ShaperNameOf(string hostLinkName) => ShaperPrefix + hostLinkName[LinkPrefix.Length..];

    /// <summary>MAC of every host end. A pod never sees another pod's link, so one address serves all, and a pod's gateway never changes its own.</summary>
    internal static readonly PhysicalAddress HostAddress = new([0xee, 0xee, 0xee, 0xee, 0xee, 0xee]);

    /// <summary>Name of the host end: the same for the same container and interface, always.</summary>
    internal string HostLinkName => LinkNameOf(ContainerId, InterfaceName);

    /// <summary>MAC of the pod's end: locally administered, from its first address (bridge-utils of CNI use the same form).</summary>
    internal PhysicalAddress PodAddress
    {
        get
        {
            var address = Addresses[0].GetAddressBytes();
            return new PhysicalAddress([0x0a, 0x58, .. address[^4..]]);
        }
    }

    // 15 bytes fit: the prefix and 11 characters of 5 bits, 55 bits of a hash. Among 1,000 pods of a node two collide once in 10^11 nodes.
    internal static string LinkNameOf(string containerId, string interfaceName)
    {
        const string alphabet = "abcdefghijklmnopqrstuvwxyz234567";
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes($"{containerId}\n{interfaceName}"), hash);
        var bits = BitConverter.ToUInt64(hash);
        return string.Create(15, bits, (name, rest) =>
        {
            LinkPrefix.CopyTo(name);
            for (var i = LinkPrefix.Length; i < name.Length; i++, rest >>= 5) name[i] = alphabet[(int)(rest & 31)];
        });
    }
}
