using Microsoft.Extensions.Logging;

namespace K3sFast.Network;

/// <summary>What the network agent logs. Event ids 9000 to 9999.</summary>
internal static partial class Log
{
    [LoggerMessage(9000, LogLevel.Information, "Pods get addresses from {PodCidrs}, MTU {Mtu}")]
    internal static partial void PodNetworkReady(ILogger logger, string podCidrs, int mtu);

    [LoggerMessage(9001, LogLevel.Information, "Waiting for node {NodeName} to get a pod CIDR")]
    internal static partial void WaitingForPodCidr(ILogger logger, string nodeName);

    [LoggerMessage(9002, LogLevel.Error, "{Refusal}: pod traffic will not flow until it is set")]
    internal static partial void SettingRefused(ILogger logger, string refusal);

    [LoggerMessage(9003, LogLevel.Warning, "The kernel has no setting {Name}")]
    internal static partial void SettingMissing(ILogger logger, string name);

    [LoggerMessage(9004, LogLevel.Error, "Pods of node {NodeName} ({PodCidr}) cannot be reached from here: {Reason}")]
    internal static partial void NodeNotReachable(ILogger logger, string nodeName, string podCidr, string reason);

    [LoggerMessage(9005, LogLevel.Error, "Node {NodeName} has a pod CIDR that cannot be read: {PodCidr}")]
    internal static partial void PodCidrMalformed(ILogger logger, string nodeName, string podCidr);

    [LoggerMessage(9006, LogLevel.Information, "Traffic to other nodes goes by {Backend} over {Link}, {Address}")]
    internal static partial void OverlayStarted(ILogger logger, string backend, string link, string address);

    [LoggerMessage(9007, LogLevel.Error, "The network between nodes is not as it should be, trying again: {Reason}")]
    internal static partial void OverlayFailed(ILogger logger, string reason);

    [LoggerMessage(9008, LogLevel.Warning, "Somebody changed the devices, neighbours or routes of the network between nodes, or an earlier run left some: they are right again")]
    internal static partial void OverlayRestored(ILogger logger);

    [LoggerMessage(9009, LogLevel.Warning, "{Path} could not be written: {Reason}")]
    internal static partial void SubnetFileFailed(ILogger logger, string path, string reason);

    [LoggerMessage(9010, LogLevel.Debug, "Pod sandbox {ContainerId} joined by {Link} with {Addresses}")]
    internal static partial void PodAdded(ILogger logger, string containerId, string link, string addresses);

    [LoggerMessage(9011, LogLevel.Debug, "Pod sandbox {ContainerId} left, {Link} removed")]
    internal static partial void PodDeleted(ILogger logger, string containerId, string link);

    [LoggerMessage(9012, LogLevel.Information, "Pod sandbox {ContainerId} is gone, its addresses {Addresses} are free again")]
    internal static partial void AttachmentForgotten(ILogger logger, string containerId, string addresses);

    [LoggerMessage(9013, LogLevel.Warning, "Link {Link} of a failed pod could not be removed")]
    internal static partial void LinkLeft(ILogger logger, string link, Exception failure);

    [LoggerMessage(9014, LogLevel.Warning, "CNI call refused with code {Code}: {Message} {Details}")]
    internal static partial void CniRefused(ILogger logger, int code, string message, string details);

    [LoggerMessage(9015, LogLevel.Error, "CNI call failed")]
    internal static partial void CniFailed(ILogger logger, Exception failure);

    [LoggerMessage(9016, LogLevel.Warning, "CNI plugin went away during its call: {Reason}")]
    internal static partial void CniConnectionLost(ILogger logger, string reason);

    [LoggerMessage(9017, LogLevel.Warning, "Address allocation {Path} could not be read and was removed")]
    internal static partial void AttachmentBroken(ILogger logger, string path);

    [LoggerMessage(9018, LogLevel.Warning, "Link {Link} leads to a pod that no file tells of: its addresses {Addresses} are given to nobody while it is there")]
    internal static partial void UnknownLink(ILogger logger, string link, string addresses);

    [LoggerMessage(9019, LogLevel.Error, "CNI plugin {Plugin}, which {Configuration} names, is in none of {Folders}: pods will not start")]
    internal static partial void PluginMissing(ILogger logger, string plugin, string configuration, string folders);

    [LoggerMessage(9020, LogLevel.Warning, "Link {Link} ({Kind}) has the name of a pod's link and was not made for one: it was removed")]
    internal static partial void ForeignLinkReplaced(ILogger logger, string link, string kind);

    [LoggerMessage(9021, LogLevel.Warning, "Link {Link} was there already and is not what is needed ({Found}): it was made anew")]
    internal static partial void DeviceReplaced(ILogger logger, string link, string found);

    [LoggerMessage(9022, LogLevel.Warning, "More happened to links, neighbours and routes than the kernel could tell: all of it is looked at")]
    internal static partial void EventsLost(ILogger logger);

    [LoggerMessage(9030, LogLevel.Debug, "Rules of {Services} services written: {Bytes} bytes in {Milliseconds:F1} ms")]
    internal static partial void ServicesSynced(ILogger logger, int services, int bytes, double milliseconds);

    [LoggerMessage(9031, LogLevel.Error, "The kernel refused the rules of services; they stay as they were and are tried again")]
    internal static partial void RulesRefused(ILogger logger, Exception failure);

    [LoggerMessage(9032, LogLevel.Warning, "Somebody removed the rules of services, or they were refused before: they are back")]
    internal static partial void RulesRestored(ILogger logger);

    [LoggerMessage(9033, LogLevel.Debug, "Forgot {Count} UDP flows to endpoints that are gone")]
    internal static partial void FlowsForgotten(ILogger logger, int count);

    [LoggerMessage(9034, LogLevel.Warning, "UDP flows to endpoints that are gone could not be forgotten: they last until their clients pause")]
    internal static partial void FlowsNotForgotten(ILogger logger, Exception failure);

    [LoggerMessage(9035, LogLevel.Warning, "Chain {Chain} of table {Table} drops forwarded packets by default: pods are unreachable unless its rules accept {Links} links")]
    internal static partial void ForeignForwardDrop(ILogger logger, string chain, string table, string links);

    [LoggerMessage(9045, LogLevel.Warning, "What policies drop is counted and not logged, because the kernel has no netfilter log (module nfnetlink_log): {Reason}")]
    internal static partial void DropsNotLogged(ILogger logger, string reason);

    [LoggerMessage(9036, LogLevel.Error, "Rules of services {Services} could not be made, they are tried again")]
    internal static partial void ServicesFailed(ILogger logger, string services, Exception failure);

    [LoggerMessage(9037, LogLevel.Warning, "Health check port {Port} of service {Service} cannot be opened: {Reason}")]
    internal static partial void HealthPortFailed(ILogger logger, string service, int port, string reason);

    [LoggerMessage(9038, LogLevel.Error, "The proxy's {What} cannot be answered on {Address}: {Reason}")]
    internal static partial void ProxyPortFailed(ILogger logger, string what, string address, string reason);

    [LoggerMessage(9039, LogLevel.Warning, "Service {Service} names external IPs {Addresses}, which are not carried: allow them with --kube-proxy-arg=feature-gates=AllowServiceExternalIPs=true")]
    internal static partial void ExternalIPsRefused(ILogger logger, string service, string addresses);

    [LoggerMessage(9046, LogLevel.Information, "net.netfilter.nf_conntrack_tcp_be_liberal is set: packets of pods that connection tracking does not understand are not dropped")]
    internal static partial void ConntrackIsLiberal(ILogger logger);

    [LoggerMessage(9060, LogLevel.Error, "proxy-mode=ebpf is not possible on this machine, Services are carried by nf_tables instead. Missing: {Missing}")]
    internal static partial void EbpfUnavailable(ILogger logger, string missing);

    [LoggerMessage(9061, LogLevel.Information, "proxy-mode=ebpf: connections of pods and of the node are translated at the socket, those from outside on the node's links; nf_tables masquerades, refuses what has no endpoints, and carries SCTP, whose sum no program can mend")]
    internal static partial void EbpfStarted(ILogger logger);

    [LoggerMessage(9068, LogLevel.Warning, "proxy-mode=ebpf: connections of pods and of the node are translated at the socket; those from outside to node ports, external and load-balancer addresses, and SCTP, are carried by nf_tables")]
    internal static partial void EbpfStartedAtSocketsOnly(ILogger logger);

    [LoggerMessage(9069, LogLevel.Warning, "This kernel takes no programs for packets (CONFIG_NET_CLS_BPF, CONFIG_NET_CLS_ACT, CONFIG_NET_SCH_INGRESS)")]
    internal static partial void NoTrafficPrograms(ILogger logger, Exception failure);

    [LoggerMessage(9070, LogLevel.Debug, "Services are carried for who comes in by link {Link}")]
    internal static partial void TrafficLinkAttached(ILogger logger, string link);

    [LoggerMessage(9071, LogLevel.Error, "Services are not carried for who comes in by link {Link}: its traffic control takes no program")]
    internal static partial void TrafficLinkRefused(ILogger logger, string link, Exception failure);

    [LoggerMessage(9072, LogLevel.Warning, "Map {Map} of the eBPF programs was full {Times} times: {Consequence}")]
    internal static partial void ProgramMapFull(ILogger logger, string map, ulong times, string consequence);

    [LoggerMessage(9073, LogLevel.Warning, "{Connections} connections from outside are open and there is room for {Max}: the oldest will give way to new ones; raise --kube-proxy-arg=conntrack-max-per-core")]
    internal static partial void ConnectionsCrowded(ILogger logger, int connections, uint max);

    [LoggerMessage(9074, LogLevel.Information, "Map {Map} of the eBPF programs has room for all Services again")]
    internal static partial void MapHasRoom(ILogger logger, string map);

    [LoggerMessage(9062, LogLevel.Warning, "This kernel is older than 5.18: a process that connects to a Service without endpoints is told \"not permitted\" instead of \"refused\"")]
    internal static partial void NoErrorCodes(ILogger logger);

    [LoggerMessage(9063, LogLevel.Debug, "Ended {Count} UDP sockets that were connected to endpoints that are gone")]
    internal static partial void SocketsEnded(ILogger logger, int count);

    [LoggerMessage(9064, LogLevel.Warning, "This kernel cannot end sockets (CONFIG_INET_UDP_DIAG, CONFIG_INET_DIAG_DESTROY): connected UDP sockets stay with endpoints that are gone")]
    internal static partial void SocketsNotEnded(ILogger logger, Exception failure);

    [LoggerMessage(9067, LogLevel.Error, "Map {Map} of the eBPF programs has room for {Capacity} entries, and {Refused} more are wanted: some Services or endpoints are not carried; use fewer of them, or --kube-proxy-arg=proxy-mode=nftables, which has no such bound")]
    internal static partial void MapFull(ILogger logger, string map, uint capacity, int refused);

    [LoggerMessage(9065, LogLevel.Information, "Removed the socket programs of an earlier run in proxy mode ebpf")]
    internal static partial void EbpfRemoved(ILogger logger);

    [LoggerMessage(9066, LogLevel.Warning, "What another proxy mode left in the kernel could not be removed")]
    internal static partial void OthersNotRemoved(ILogger logger, Exception failure);

    [LoggerMessage(9040, LogLevel.Warning, "Service {Service} cannot be carried at {Address}: {Reason}")]
    internal static partial void RelayFailed(ILogger logger, string service, string address, string reason);

    [LoggerMessage(9041, LogLevel.Error, "This kernel has no nf_tables: what pods send beyond the cluster is not masqueraded, pods are held to their addresses by rp_filter alone, host ports are refused and network policies are not enforced")]
    internal static partial void NoMasquerade(ILogger logger);

    [LoggerMessage(9042, LogLevel.Warning, "Services are carried by this process (proxy-mode=userspace): endpoints see the node as their client, and open connections end with a restart")]
    internal static partial void UserspaceStarted(ILogger logger);

    [LoggerMessage(9043, LogLevel.Information, "Removed link {Link} with the addresses of Services that another proxy mode left")]
    internal static partial void ServiceAddressesRemoved(ILogger logger, string link);

    [LoggerMessage(9044, LogLevel.Error, "proxy-mode=ipvs is not possible on this machine, Services are carried by nf_tables instead. Missing: IPVS (CONFIG_IP_VS, module ip_vs)")]
    internal static partial void IpvsUnavailable(ILogger logger);

    [LoggerMessage(9045, LogLevel.Information, "Removed the socket programs of {Count} nodes whose network namespaces are gone")]
    internal static partial void OrphanedProgramsRemoved(ILogger logger, int count);
}
