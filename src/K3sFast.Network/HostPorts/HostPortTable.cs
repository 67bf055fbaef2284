using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.Conntrack;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Cni;
using K3sFast.Network.Proxy;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.HostPorts;

/// <summary>
/// Ports of the node that lead to pods: {address . protocol . port} and {protocol . port} → address . port of the pod. A table of its own, so
/// that pods come and go while the rules of Services are being rebuilt.
/// </summary>
/// <remarks>Any thread. A node port of a Service wins over a pod's port of the same number: its table is asked first.</remarks>
internal sealed class HostPortTable : IDisposable
{
    internal const string TableName = "k3sfast-hostports";

    private const string AnyAddressMap = "ports", AddressMap = "address-ports", HairpinSet = "hairpin";

    // Right behind the Services' hooks.
    private const int DestinationNatPriority = -104, SourceNatPriority = 96;

    private readonly List<(PacketSteps Steps, NftTable Table)> _tables = [];
    private readonly ConntrackTable _conntrack;
    private readonly StaleFlows _flows;

    internal HostPortTable(NetworkOptions options, ILogger logger)
    {
        foreach (var family in ServiceBackend.FamiliesOf(options))
        {
            _tables.Add((new PacketSteps(family), new NftTable(family, TableName, options.HostNamespace)));
        }
        _conntrack = ConntrackTable.Open(options.HostNamespace);
        _flows = new StaleFlows(_conntrack, logger);
    }

    /// <summary>Replaces what an earlier run left by what these pods want, at one instant.</summary>
    internal void Restore(IReadOnlyList<PodAttachment> attachments)
    {
        foreach (var (steps, table) in _tables)
        {
            var parts = new List<KeyValuePair<string, NftFragment?>> { new(BaseRules.Owner, Base(steps)) };
            foreach (var attachment in attachments)
            {
                if (attachment.PortMappings.Count > 0) parts.Add(new(attachment.HostLinkName, Part(steps, attachment)));
            }
            table.Apply(parts);
        }
    }

    /// <summary>Opens a pod's ports.</summary>
    internal void Add(PodAttachment attachment)
    {
        foreach (var (steps, table) in _tables) table.Apply([new(attachment.HostLinkName, Part(steps, attachment))]);
        ForgetFlows(attachment, isGone: false);
    }

    /// <summary>Closes a pod's ports.</summary>
    internal void Remove(PodAttachment attachment)
    {
        foreach (var (_, table) in _tables) table.Apply([new(attachment.HostLinkName, null)]);
        ForgetFlows(attachment, isGone: true);
    }

    /// <summary>Closes the sockets; the rules stay.</summary>
    public void Dispose()
    {
        foreach (var (_, table) in _tables) table.Dispose();
        _conntrack.Dispose();
    }

    private static NftFragment Base(PacketSteps steps)
    {
        var fragment = new NftFragment();
        var target = NftType.Concat(steps.AddressType, NftType.Port);
        fragment.Sets.Add(new NftSet(AddressMap, NftType.Concat(steps.AddressType, NftType.Protocol, NftType.Port), target));
        fragment.Sets.Add(new NftSet(AnyAddressMap, NftType.Concat(NftType.Protocol, NftType.Port), target));
        fragment.Sets.Add(new NftSet(HairpinSet, NftType.Concat(steps.AddressType, steps.AddressType)));
        NftRule[] rules =
        [
            new([.. steps.LoadDestinationKey(), new NftLookup(AddressMap, 0, PacketSteps.FoundRegister), steps.TranslateToRegisters(PacketSteps.FoundRegister)]),
            new([
                .. steps.DestinationIsLocal(), .. PacketSteps.LoadPortKey(0), new NftLookup(AnyAddressMap, 0, PacketSteps.FoundRegister),
                steps.TranslateToRegisters(PacketSteps.FoundRegister),
            ]),
        ];
        fragment.Chains.Add(new NftChain("ports", rules));
        NftRule[] jump = [new(new NftDecide(NftVerdict.Jump("ports")))];
        fragment.Chains.Add(new NftChain("nat-prerouting", jump, new NftBaseChain("nat", NftHook.Prerouting, DestinationNatPriority)));
        fragment.Chains.Add(new NftChain("nat-output", jump, new NftBaseChain("nat", NftHook.Output, DestinationNatPriority)));
        var loopback = IPNetwork.Parse(steps.IsIPv6 ? "::1/128" : "127.0.0.0/8");
        fragment.Chains.Add(new NftChain("nat-postrouting", [
            new([steps.LoadSource(0), steps.LoadDestination(steps.AddressRegisters), new NftLookup(HairpinSet, 0), new NftMasquerade()]),
            // Who asked 127.0.0.1 has a source that no pod could answer to.
            new([.. steps.SourceIs(loopback), .. steps.DestinationIs(loopback, isInverted: true), new NftMasquerade()]),
        ], new NftBaseChain("nat", NftHook.Postrouting, SourceNatPriority)));
        return fragment;
    }

    private static NftFragment? Part(PacketSteps steps, PodAttachment attachment)
    {
        var family = steps.IsIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        if (attachment.Addresses.FirstOrDefault(address => address.AddressFamily == family) is not { } pod) return null;
        var fragment = new NftFragment();
        foreach (var port in attachment.PortMappings)
        {
            var target = NftData.Concat(NftData.Of(pod), NftData.OfPort(port.ContainerPort));
            if (port.HostIP is null)
            {
                fragment.Elements.Add((AnyAddressMap, new NftElement(NftData.Concat(new NftData(port.Protocol), NftData.OfPort(port.HostPort)), target)));
            }
            else if (port.HostIP.AddressFamily == family)
            {
                fragment.Elements.Add((AddressMap, new NftElement(NftData.Concat(NftData.Of(port.HostIP), new NftData(port.Protocol), NftData.OfPort(port.HostPort)), target)));
            }
        }
        fragment.Elements.Add((HairpinSet, new NftElement(NftData.Concat(NftData.Of(pod), NftData.Of(pod)))));
        return fragment;
    }

    private void ForgetFlows(PodAttachment attachment, bool isGone)
    {
        foreach (var (steps, _) in _tables)
        {
            var family = steps.IsIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
            if (attachment.Addresses.FirstOrDefault(address => address.AddressFamily == family) is not { } pod) continue;
            var destinations = new List<StaleFlows.Destination>();
            foreach (var port in attachment.PortMappings)
            {
                if (port.Protocol != 17) continue;
                HashSet<(IPAddress, ushort)> targets = isGone ? [] : [(pod, port.ContainerPort)];
                destinations.Add(new StaleFlows.Destination(port.HostIP is null ? [] : [port.HostIP], port.HostPort, targets));
            }
            _flows.Forget(steps.IsIPv6, destinations);
        }
    }
}
