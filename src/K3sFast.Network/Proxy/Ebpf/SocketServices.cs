using System.Net;
using System.Runtime.InteropServices;
using K3sFast.Interop;
using K3sFast.Interop.Bpf;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>Services by programs: keeps the maps of those at the socket, and of those for packets from outside, as Services want them, and the programs where they belong.</summary>
/// <remarks>One thread at a time, but for what says otherwise.</remarks>
internal sealed class SocketServices : IDisposable
{
    private readonly NetworkNamespace? _namespace;
    private readonly Func<IPAddress, bool> _hasNodePorts;
    private readonly SocketPrograms _programs;
    private readonly TrafficServices? _traffic;
    private readonly SocketState _state;
    private readonly MapRoom _room;
    private readonly SocketChanges _changes = new();
    private readonly DatagramSockets _datagrams;
    private readonly string _directory;
    private readonly ILogger _logger;
    private bool _isStarted, _isSuspect;

    // Held while the node's addresses are read and written: two tell of their changes.
    private readonly Lock _addresses = new();

    /// <summary>Loads the programs.</summary>
    /// <param name="inside">The node's network namespace; null = that of the process.</param>
    /// <param name="hasLocalhostPorts">Node ports answer on 127.0.0.1.</param>
    /// <param name="hasNodePorts">True for addresses of the node that node ports answer on.</param>
    /// <param name="logger">Where to tell.</param>
    /// <param name="nodeIPs">Addresses of this node; null = none are known.</param>
    /// <param name="traffic">How to carry what comes from outside; null = rules do.</param>
    /// <param name="resize">Gives maps another number of entries; null = none.</param>
    /// <param name="metrics">Where counts go, once there is something.</param>
    /// <exception cref="EbpfUnavailableException">Not possible on this machine.</exception>
    internal SocketServices(
        NetworkNamespace? inside, bool hasLocalhostPorts, Func<IPAddress, bool> hasNodePorts, ILogger logger, IReadOnlyList<IPAddress>? nodeIPs = null, TrafficSetup? traffic = null,
        Func<BpfMapSpec, BpfMapSpec>? resize = null, Func<ProxyMetrics?>? metrics = null)
    {
        (_namespace, _hasNodePorts, _logger) = (inside, hasNodePorts, logger);
        var own = NamespacePaths.NameOf(inside?.Path ?? NamespacePaths.Own);
        _directory = SocketPrograms.DirectoryOf(own);
        // Several nodes on one machine share its cgroups: each then minds its own namespaces. A node that has the machine to itself minds all.
        IsScoped = IsGuest(own);
        var cookie = ReadCookie(inside);
        _programs = SocketPrograms.Load(_directory, new SocketSettings(cookie, IsScoped ? 1u : 0, HasErrorCodes: 1, hasLocalhostPorts ? 1u : 0), resize);
        if (traffic is not null) _traffic = TryLoad(traffic);
        _state = new SocketState(HasTraffic, nodeIPs);
        _room = new MapRoom(metrics ?? (static () => null), logger);
        Watch = new MapWatch(_programs.Maps, _traffic, metrics ?? (static () => null), logger);
        _datagrams = new DatagramSockets(_programs, IsScoped, logger);
        if (IsScoped) _programs.Namespaces.Set<ulong, byte>([cookie], [1]);
        if (!_programs.HasErrorCodes) Log.NoErrorCodes(logger);
    }

    /// <summary>True when only namespaces that were added are minded.</summary>
    internal bool IsScoped { get; }

    /// <summary>Programs carry what comes from outside too.</summary>
    internal bool HasTraffic => _traffic is not null;

    /// <summary>Tells of what the programs find.</summary>
    internal MapWatch Watch { get; }

    /// <summary>Entries that the last round wrote or deleted.</summary>
    internal int LastEntries { get; private set; }

    /// <summary>True if an earlier run left programs that carry Services.</summary>
    internal bool ExistsInKernel() => SocketPrograms.Exist(_directory);

    /// <summary>Takes the programs of a node out of the kernel; true = there were some.</summary>
    internal static bool Remove(NetworkNamespace? inside)
    {
        // Their filters keep programs and maps alive. Without pins there were none, and no link needs to be asked.
        var directory = SocketPrograms.DirectoryOf(NamespacePaths.NameOf(inside?.Path ?? NamespacePaths.Own));
        if (Directory.Exists(directory)) TrafficLinks.Remove(inside);
        return SocketPrograms.Remove(directory);
    }

    /// <summary>Who is a pod in a family; null = not known.</summary>
    internal void SetPods(System.Net.Sockets.AddressFamily family, IPNetwork? network, bool masqueradesAll) => _traffic?.SetPods(family, network, masqueradesAll);

    /// <summary>Minds the sockets of a pod from now on. Any thread.</summary>
    internal void AddNamespace(NetworkNamespace pod)
    {
        if (IsScoped) _programs.Namespaces.Set<ulong, byte>([pod.ReadCookie()], [1]);
    }

    /// <summary>Minds the sockets of all namespaces that have one of these addresses and a process. Any thread.</summary>
    internal void AdoptNamespaces(IReadOnlySet<IPAddress> addresses)
    {
        if (!IsScoped || addresses.Count == 0) return;
        foreach (var path in NamespacePaths.All())
        {
            try
            {
                using var inside = NetworkNamespace.Open(path);
                using var route = RouteSocket.Open(inside);
                if (route.ListAddresses().Any(entry => addresses.Contains(entry.Address))) AddNamespace(inside);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Its last process has ended.
            }
        }
    }

    /// <summary>Forgets a pod's namespace. Any thread.</summary>
    internal void RemoveNamespace(NetworkNamespace pod)
    {
        if (IsScoped) _programs.Namespaces.Delete<ulong>([pod.ReadCookie()]);
    }

    /// <summary>Notes what a Service's ports are now; <see cref="Flush"/> makes it so.</summary>
    internal void Set(string owner, IReadOnlyList<ServicePort> ports) => _state.Set(owner, ports, _changes);

    /// <summary>Writes what was noted. The first time it compares with what an earlier run left, and lets the programs work.</summary>
    /// <exception cref="KernelException">Refused; call <see cref="Verify"/> until it succeeds.</exception>
    internal void Flush()
    {
        try
        {
            if (!_isStarted || _isSuspect)
            {
                RefreshNodeAddresses();
                LastEntries = Reconcile();
                if (!_isStarted) Attach();
                (_isStarted, _isSuspect) = (true, _room.IsShort);
            }
            else
            {
                if (_state.NodePorts > 0 && _changes.Frontends.Count > 0) RefreshNodeAddresses();
                Write(_changes);
                LastEntries = _changes.Count;
                _isSuspect |= _room.IsShort;
            }
            _room.Tell();
            _datagrams.End(_changes.GoneDatagram);
        }
        catch (KernelException)
        {
            _isSuspect = true;
            throw;
        }
        finally
        {
            _changes.Clear();
        }
    }

    /// <summary>Follows the node's addresses: a node port answers on a new one at once. Any thread; ends when cancelled.</summary>
    internal async Task FollowAddressesAsync(CancellationToken cancellationToken)
    {
        using var changes = RouteEvents.Open(_namespace);
        var events = new List<RouteEvent>();
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                ForgetLinks(events);
                if (events.Exists(static change => change.Kind is RouteEventKind.AddressChanged or RouteEventKind.Lost)) RefreshNodeAddresses();
                events.Clear();
                await changes.ReadAsync(events, cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (KernelException refused)
            {
                // The next look at everything tries again.
                Log.RulesRefused(_logger, refused);
                events.Clear();
            }
        }
    }

    /// <summary>Puts back what somebody detached or a refused change left behind; true = something had to be.</summary>
    /// <exception cref="KernelException">Refused.</exception>
    internal bool Verify()
    {
        if (!_isStarted && !_isSuspect) return false;
        RefreshNodeAddresses();
        var isRepaired = false;
        // Where it is room that is missing, trying again helps only once Services are fewer, which the next change may be about.
        if (_isSuspect && !_room.IsShort)
        {
            Reconcile();
            isRepaired = true;
        }
        _isSuspect = _room.IsShort;
        if (!_isStarted || !_programs.AreAttached())
        {
            Attach();
            isRepaired = true;
        }
        else if (_traffic is not null)
        {
            isRepaired |= RefreshLinks();
        }
        _isStarted = true;
        _room.Tell();
        return isRepaired;
    }

    /// <summary>Closes what is open; the programs go on.</summary>
    public void Dispose()
    {
        _traffic?.Dispose();
        _programs.Dispose();
    }

    private TrafficServices? TryLoad(TrafficSetup setup)
    {
        try
        {
            return TrafficServices.Load(_programs.Maps, setup, _logger);
        }
        catch (KernelException refused)
        {
            Log.NoTrafficPrograms(_logger, refused);
            return null;
        }
    }

    private void Attach()
    {
        _programs.Attach();
        if (_traffic is null) return;
        lock (_addresses)
        {
            using var route = RouteSocket.Open(_namespace);
            _traffic.Attach(route, route.ListAddresses());
        }
    }

    private bool RefreshLinks()
    {
        lock (_addresses)
        {
            using var route = RouteSocket.Open(_namespace);
            return _traffic!.Refresh(route, route.ListAddresses(), isThorough: true);
        }
    }

    private void ForgetLinks(List<RouteEvent> events)
    {
        if (_traffic is null) return;
        lock (_addresses)
        {
            foreach (var change in events)
            {
                if (change.Kind == RouteEventKind.LinkDeleted) _traffic.Forget(change.LinkIndex);
            }
        }
    }

    private void Write(SocketChanges changes)
    {
        _room.Set(_programs.Members, changes.Members);
        _room.Set(_programs.Slots, changes.Slots);
        _traffic?.Write(changes, _room);
        _room.Set(_programs.Frontends, [.. changes.Frontends.Where(static pair => pair.Value is not null).Select(static pair => new KeyValuePair<SocketEndpoint, SocketFrontend>(pair.Key, pair.Value!.Value))]);
        Remove(changes);
    }

    private void Remove(SocketChanges changes)
    {
        _programs.Frontends.Delete<SocketEndpoint>([.. changes.Frontends.Where(static pair => pair.Value is null).Select(static pair => pair.Key)]);
        _traffic?.Remove(changes);
        _programs.Slots.Delete<SlotKey>(CollectionsMarshal.AsSpan(changes.GoneSlots));
        _programs.Members.Delete<MemberKey>(CollectionsMarshal.AsSpan(changes.GoneMembers));
    }

    // Compares all that is in the maps with all that should be; answers how many entries were not right.
    private int Reconcile()
    {
        var (frontends, slots, members) = _state.Snapshot();
        var changes = new SocketChanges();
        foreach (var (key, value) in _programs.Frontends.ReadAll<SocketEndpoint, SocketFrontend>())
        {
            if (!frontends.TryGetValue(key, out var wanted)) changes.Frontends[key] = null;
            else if (wanted == value) frontends.Remove(key);
        }
        foreach (var (key, value) in frontends) changes.Frontends[key] = value;
        foreach (var (key, value) in _programs.Slots.ReadAll<SlotKey, SocketEndpoint>())
        {
            if (!slots.TryGetValue(key, out var wanted)) changes.GoneSlots.Add(key);
            else if (wanted == value) slots.Remove(key);
        }
        changes.Slots.AddRange(slots);
        foreach (var (key, value) in _programs.Members.ReadAll<MemberKey, byte>())
        {
            if (!members.TryGetValue(key, out var wanted)) changes.GoneMembers.Add(key);
            else if (wanted == value) members.Remove(key);
        }
        changes.Members.AddRange(members);
        _traffic?.Compare(_state, changes);
        _room.StartOver();
        // Room first, where it may be that which was missing.
        if (_isSuspect) Remove(changes);
        Write(changes);
        return changes.Count;
    }

    private void RefreshNodeAddresses()
    {
        lock (_addresses) RefreshNodeAddressesLocked();
    }

    private void RefreshNodeAddressesLocked()
    {
        using var route = RouteSocket.Open(_namespace);
        var wanted = new HashSet<SocketAddress>();
        var addresses = route.ListAddresses();
        if (_isStarted) _traffic?.Refresh(route, addresses, isThorough: false);
        foreach (var address in addresses)
        {
            if (!IPAddress.IsLoopback(address.Address) && _hasNodePorts(address.Address)) wanted.Add(SocketAddress.Of(address.Address));
        }
        var gone = new List<SocketAddress>();
        foreach (var (key, _) in _programs.NodeAddresses.ReadAll<SocketAddress, byte>())
        {
            if (!wanted.Remove(key)) gone.Add(key);
        }
        _programs.NodeAddresses.Delete<SocketAddress>(CollectionsMarshal.AsSpan(gone));
        SocketAddress[] added = [.. wanted];
        var ones = new byte[added.Length];
        Array.Fill(ones, (byte)1);
        _programs.NodeAddresses.Set<SocketAddress, byte>(added, ones);
    }

    // The machine's namespace is that of its first process, or where that hides, of its first kernel thread. Without either it is ours.
    private static bool IsGuest(string own)
    {
        foreach (var path in (ReadOnlySpan<string>)["/proc/1/ns/net", "/proc/2/ns/net"])
        {
            try
            {
                return NamespacePaths.NameOf(path) != own;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
            }
        }
        return false;
    }

    private static ulong ReadCookie(NetworkNamespace? inside)
    {
        try
        {
            return inside?.ReadCookie() ?? NetworkNamespace.ReadCurrentCookie();
        }
        catch (KernelException e)
        {
            throw new EbpfUnavailableException($"a kernel of 5.14 or later ({e.Message})", e);
        }
    }
}
