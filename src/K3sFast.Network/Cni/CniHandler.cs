using System.Buffers;
using System.Net;
using System.Net.Sockets;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.HostPorts;
using K3sFast.Network.Policy;
using K3sFast.Network.Proxy.Ebpf;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Cni;

/// <summary>Carries out CNI calls: addresses from the node's pod CIDRs, links, host ports. Nothing is half done when a call fails.</summary>
/// <remarks>
/// Any thread. Addresses are given and taken under a lock; kernel work runs outside it. Calls for one container come one after the other: the
/// runtime sees to that.
/// </remarks>
internal sealed class CniHandler
{
    private readonly ILogger _logger;
    private readonly AttachmentStore _store;
    private readonly PodLinks _links;
    private readonly HostPortTable? _hostPorts;

    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly List<AddressPool> _pools = [];
    private ILookup<string, IPAddress> _unknown = Array.Empty<(string Link, IPAddress Address)>().ToLookup(static entry => entry.Link, static entry => entry.Address);
    private PodNetworkSettings? _settings;

    // Links that are being made or taken down: what they lack nobody took away
    private readonly HashSet<string> _underWay = [];

    /// <param name="store">What is remembered.</param>
    /// <param name="links">Who makes links.</param>
    /// <param name="hostPorts">Who makes host ports; null = this kernel cannot.</param>
    /// <param name="logger">Where it tells.</param>
    internal CniHandler(AttachmentStore store, PodLinks links, HostPortTable? hostPorts, ILogger logger)
    {
        (_store, _links, _hostPorts, _logger) = (store, links, hostPorts, logger);
    }

    /// <summary>Who must know of a pod before it can send; null = nobody.</summary>
    internal PolicyAgent? Policies { get; init; }

    /// <summary>Who translates pods' connections at their sockets; null = nobody.</summary>
    internal EbpfTables? Sockets { get; init; }

    /// <summary>Sets or changes where addresses come from. Pods that are there keep theirs.</summary>
    internal void Configure(PodNetworkSettings settings)
    {
        lock (_gate)
        {
            _settings = settings;
            if (_pools.Select(pool => pool.Network).SequenceEqual(settings.PodCidrs)) return;
            _pools.Clear();
            foreach (var network in settings.PodCidrs) _pools.Add(new AddressPool(network));
            foreach (var attachment in _store.List())
            {
                foreach (var address in attachment.Addresses)
                {
                    foreach (var pool in _pools) pool.Reserve(address);
                }
            }
            // A link whose file was lost still has a pod behind it: nobody else gets its address while it is there.
            var known = _store.List().Select(static attachment => attachment.HostLinkName).ToHashSet();
            _unknown = _links.AddressesInUse().Where(link => !known.Contains(link.Key)).SelectMany(static link => link.Select(address => (link.Key, Address: address)))
                .ToLookup(static entry => entry.Key, static entry => entry.Address);
            foreach (var link in _unknown)
            {
                Log.UnknownLink(_logger, link.Key, string.Join(',', link));
                foreach (var address in link)
                {
                    foreach (var pool in _pools) pool.Reserve(address);
                }
            }
        }
    }

    /// <summary>Puts back routes to pods that are gone though the pods are not; answers how many.</summary>
    internal int Restore(IReadOnlyList<IPAddress> preferredSources)
    {
        List<PodAttachment> settled;
        lock (_gate) settled = [.. _store.List().Where(attachment => !_underWay.Contains(attachment.HostLinkName))];
        return _links.Restore(settled, preferredSources);
    }

    /// <summary>Gives back what belongs to links that are gone: pods that vanished while nobody was listening.</summary>
    internal void Reconcile(IReadOnlySet<string> linkNames)
    {
        foreach (var attachment in _store.List())
        {
            if (linkNames.Contains(attachment.HostLinkName)) continue;
            Log.AttachmentForgotten(_logger, attachment.ContainerId, string.Join(',', attachment.Addresses));
            Release(attachment);
        }
        _links.RemoveOrphans(linkNames);
    }

    /// <summary>Answers one call; the JSON goes to <paramref name="answer"/>.</summary>
    /// <exception cref="CniException">The call is refused.</exception>
    internal void Handle(CniRequest request, IBufferWriter<byte> answer)
    {
        switch (request.Command)
        {
            case "STATUS":
                CheckReady();
                return;
            case "GC":
                CollectGarbage(request);
                return;
        }
        request.CheckNames();
        switch (request.Command)
        {
            case "ADD" or "DEL":
                Change(request, answer);
                break;
            case "CHECK":
                Check(request);
                break;
            default:
                throw new CniException(CniException.BadEnvironment, $"unknown CNI_COMMAND {request.Command}");
        }
    }

    private void CheckReady()
    {
        lock (_gate)
        {
            if (_settings is null) throw new CniException(CniException.NotAvailable, "the node has no pod CIDR yet");
            if (_pools.FirstOrDefault(static pool => pool.FreeCount <= 0) is { } full) throw new CniException(CniException.NotAvailable, $"no address is left in {full.Network}");
        }
    }

    // What the runtime does not name is not there for it: links and addresses that nobody will ever ask us to take down.
    private void CollectGarbage(CniRequest request)
    {
        if (request.ValidAttachments is not { } valid) throw new CniException(CniException.BadConfiguration, "cni.dev/valid-attachments is missing from the network configuration");
        foreach (var attachment in _store.List())
        {
            if (attachment.NetworkName != request.NetworkName || valid.Contains((attachment.ContainerId, attachment.InterfaceName))) continue;
            _links.Remove(attachment.HostLinkName);
            Log.AttachmentForgotten(_logger, attachment.ContainerId, string.Join(',', attachment.Addresses));
            Release(attachment);
        }
    }

    private void Change(CniRequest request, IBufferWriter<byte> answer)
    {
        var link = PodAttachment.LinkNameOf(request.ContainerId, request.InterfaceName);
        lock (_gate) _underWay.Add(link);
        try
        {
            if (request.Command == "ADD") Add(request, answer);
            else Delete(request);
        }
        finally
        {
            lock (_gate) _underWay.Remove(link);
        }
    }

    private void Add(CniRequest request, IBufferWriter<byte> answer)
    {
        if (request.PortMappings.Count > 0 && _hostPorts is null) throw new CniException(CniException.BadConfiguration, "host ports need nf_tables, which this kernel does not have");
        using var pod = OpenNamespace(request);
        var attachment = Attach(request, out var settings);
        var (ns, name) = PodOf(request);
        try
        {
            if (name.Length > 0) Policies?.Attach(ns, name, attachment.Addresses);
            Sockets?.AddPod(pod);
            if (_links.Add(attachment, pod, settings.Mtu, settings.PreferredSources) is { } foreign) Log.ForeignLinkReplaced(_logger, foreign.Name, foreign.Kind);
            if (attachment.PortMappings.Count > 0) _hostPorts!.Add(attachment);
        }
        catch (Exception e)
        {
            try
            {
                _links.Remove(attachment.HostLinkName);
            }
            catch (KernelException cleanup)
            {
                Log.LinkLeft(_logger, attachment.HostLinkName, cleanup);
            }
            if (name.Length > 0) Policies?.Detach(ns, name);
            Release(attachment);
            throw e is KernelException ? new CniException(CniException.Internal, "cannot build the pod's network", e.Message) : e;
        }
        Log.PodAdded(_logger, request.ContainerId, attachment.HostLinkName, string.Join(',', attachment.Addresses));
        CniResult.Write(answer, request, attachment);
    }

    private void Delete(CniRequest request)
    {
        // The link goes even when we know nothing of the container: its name says whose it is.
        var link = PodAttachment.LinkNameOf(request.ContainerId, request.InterfaceName);
        _links.Remove(link);
        if (_store.Find(request.ContainerId, request.InterfaceName) is not { } attachment)
        {
            lock (_gate)
            {
                foreach (var address in _unknown[link]) ReleaseLocked(address);
            }
            return;
        }
        if (PodOf(request) is { Name.Length: > 0 } pod) Policies?.Detach(pod.Namespace, pod.Name);
        if (Sockets is not null) ForgetSockets(request.NetworkNamespacePath);
        Release(attachment);
        Log.PodDeleted(_logger, request.ContainerId, attachment.HostLinkName);
    }

    // A namespace that is gone has no sockets, and its number is never used again.
    private void ForgetSockets(string path)
    {
        try
        {
            using var pod = NetworkNamespace.Open(path);
            Sockets?.RemovePod(pod);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
        }
    }

    private void Check(CniRequest request)
    {
        if (_store.Find(request.ContainerId, request.InterfaceName) is not { } attachment) throw new CniException(CniException.UnknownContainer, "unknown container", request.ContainerId);
        using var pod = OpenNamespace(request);
        if (_links.Check(attachment, pod) is { } wrong) throw new CniException(CniException.Internal, wrong);
    }

    // An address and its place on disk, before anything is built: a crash in between leaves a file without a link, which Reconcile finds.
    private PodAttachment Attach(CniRequest request, out PodNetworkSettings settings)
    {
        lock (_gate)
        {
            settings = _settings ?? throw new CniException(CniException.TryAgain, "the node has no pod CIDR yet");
            if (_store.Find(request.ContainerId, request.InterfaceName) is { } known) ReleaseLocked(known);
            var addresses = new List<IPAddress>(_pools.Count);
            foreach (var pool in _pools)
            {
                if (pool.Take() is { } address)
                {
                    addresses.Add(address);
                    continue;
                }
                foreach (var taken in addresses) ReleaseLocked(taken);
                throw new CniException(CniException.Internal, $"no address is left in {pool.Network}");
            }
            var attachment = new PodAttachment(request.ContainerId, request.InterfaceName, addresses, request.PortMappings)
            {
                NetworkName = request.NetworkName, Bandwidth = request.Bandwidth,
            };
            try
            {
                _store.Put(attachment);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                foreach (var taken in addresses) ReleaseLocked(taken);
                throw new CniException(CniException.Io, "cannot write the state of the pod network", e.Message);
            }
            return attachment;
        }
    }

    private void Release(PodAttachment attachment)
    {
        // Host ports first: the address may be somebody else's as soon as it is free.
        if (attachment.PortMappings.Count > 0) _hostPorts?.Remove(attachment);
        lock (_gate) ReleaseLocked(attachment);
    }

    private void ReleaseLocked(PodAttachment attachment)
    {
        _store.Remove(attachment.ContainerId, attachment.InterfaceName);
        foreach (var address in attachment.Addresses) ReleaseLocked(address);
    }

    private void ReleaseLocked(IPAddress address)
    {
        foreach (var pool in _pools) pool.Release(address);
    }

    // CNI_ARGS of a Kubernetes runtime: IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;...
    private static (string Namespace, string Name) PodOf(CniRequest request)
    {
        var (ns, name) = ("", "");
        foreach (var pair in request.Arguments.Split(';'))
        {
            if (pair.StartsWith("K8S_POD_NAMESPACE=", StringComparison.Ordinal)) ns = pair["K8S_POD_NAMESPACE=".Length..];
            else if (pair.StartsWith("K8S_POD_NAME=", StringComparison.Ordinal)) name = pair["K8S_POD_NAME=".Length..];
        }
        return ns.Length > 0 ? (ns, name) : ("", "");
    }

    private static NetworkNamespace OpenNamespace(CniRequest request)
    {
        try
        {
            return NetworkNamespace.Open(request.NetworkNamespacePath);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new CniException(CniException.BadEnvironment, "cannot open the pod's network namespace", e.Message);
        }
    }
}

/// <summary>What new pods get.</summary>
/// <param name="PodCidrs">Where addresses come from, one network per family.</param>
/// <param name="Mtu">MTU of links.</param>
/// <param name="PreferredSources">Addresses that the node itself speaks to pods from, at most one per family.</param>
internal sealed record PodNetworkSettings(IReadOnlyList<IPNetwork> PodCidrs, int Mtu, IReadOnlyList<IPAddress> PreferredSources);
