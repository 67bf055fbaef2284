using System.Net;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Gives Services their cluster addresses and node ports and fills in what follows from them (clusterIPs, ipFamilies, ipFamilyPolicy). What is
/// taken is known by reading all Services at start; a reservation is undone when its write fails, and released when the Service goes.
/// </summary>
/// <remarks>Any thread. One server allocates; a second one would need the store to arbitrate.</remarks>
internal sealed class ServiceAllocator : IWriteHook
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly AddressRange _addresses;
    private readonly HashSet<long> _ports = [];
    private readonly Random _random = new();

    private readonly (int First, int Last) _portRange;

    internal ServiceAllocator(IPNetwork serviceCidr, (int First, int Last) portRange)
    {
        _addresses = new AddressRange(serviceCidr);
        _portRange = portRange;
    }

    /// <summary>The kubernetes Service's address: the first of the range.</summary>
    internal static IPAddress FirstAddress(IPNetwork serviceCidr)
    {
        var bytes = serviceCidr.BaseAddress.GetAddressBytes();
        bytes[^1]++;
        return new IPAddress(bytes);
    }

    /// <summary>Takes what stored Services hold. Called once, before the first write.</summary>
    internal void Load(ResourceStorage services, ILogger logger)
    {
        foreach (var stored in services.All(null))
        {
            using var document = services.Decode(stored);
            var spec = document.Root["spec"u8];
            lock (_gate)
            {
                foreach (var address in Addresses(spec))
                {
                    if (!_addresses.TryTake(address))
                        Log.AddressConflict(logger, stored.Key, address.ToString());
                }
                foreach (var port in NodePorts(spec))
                    _ports.Add(port);
            }
        }
    }

    public void Complete(ApiNode obj, ApiNode old)
    {
        ApiNode spec = obj["spec"u8], oldSpec = old["spec"u8];
        // The single and the plural form of the address say the same.
        if (spec["type"u8].Equals("ExternalName"u8) || oldSpec["type"u8].Equals("ExternalName"u8) || !spec.IsDefined)
            return;
        if (spec["clusterIP"u8].Utf8.IsEmpty && spec["clusterIPs"u8].Count == 0 && !oldSpec["clusterIP"u8].Utf8.IsEmpty)
            SetAddress(spec, oldSpec["clusterIP"u8].AsString());
        else if (!spec["clusterIP"u8].Utf8.IsEmpty && spec["clusterIPs"u8].Count == 0)
            SetAddress(spec, spec["clusterIP"u8].AsString());
        if (spec["ipFamilies"u8].Count == 0 && oldSpec["ipFamilies"u8].Count > 0)
            spec.Set("ipFamilies"u8, oldSpec["ipFamilies"u8]);
        if (spec["ipFamilyPolicy"u8].Utf8.IsEmpty && !oldSpec["ipFamilyPolicy"u8].Utf8.IsEmpty)
            spec.Set("ipFamilyPolicy"u8, oldSpec["ipFamilyPolicy"u8]);
        if (spec["healthCheckNodePort"u8].AsInt64() == 0 && oldSpec["healthCheckNodePort"u8].AsInt64() > 0 && spec["externalTrafficPolicy"u8].Equals("Local"u8))
            spec.Set("healthCheckNodePort"u8, oldSpec["healthCheckNodePort"u8]);
    }

    public IWriteReservation? Prepare(ApiNode obj, ApiNode old, bool isDryRun)
    {
        var reservation = new Reservation(this);
        try
        {
            lock (_gate)
            {
                if (obj.IsDefined)
                    PrepareLocked(obj, old, reservation);
                ReleaseUnusedLocked(obj, old, reservation);
            }
            return reservation;
        }
        catch
        {
            reservation.Rollback();
            throw;
        }
    }

    private void PrepareLocked(ApiNode obj, ApiNode old, Reservation reservation)
    {
        var spec = obj.GetOrAddObject("spec"u8);
        var name = ObjectText.NameOf(obj);
        var type = spec["type"u8].AsString();
        if (type == "ExternalName")
        {
            spec.Remove("clusterIP"u8);
            spec.Remove("clusterIPs"u8);
            spec.Remove("ipFamilies"u8);
            spec.Remove("ipFamilyPolicy"u8);
            return;
        }
        PrepareAddressLocked(spec, old["spec"u8], name, reservation);
        PreparePortsLocked(spec, old["spec"u8], name, type, reservation);
    }

    private void PrepareAddressLocked(ApiNode spec, ApiNode oldSpec, string name, Reservation reservation)
    {
        if (spec["ipFamilyPolicy"u8].Utf8.IsEmpty)
            spec.Set("ipFamilyPolicy"u8, oldSpec["ipFamilyPolicy"u8] is { Utf8.IsEmpty: false } kept ? kept.AsString() : "SingleStack");
        else if (spec["ipFamilyPolicy"u8].Equals("RequireDualStack"u8))
            throw Invalid(name, "spec.ipFamilyPolicy", "RequireDualStack", "this cluster is not configured for dual-stack services");
        foreach (var family in spec["ipFamilies"u8].Elements)
        {
            if (!family.Equals(System.Text.Encoding.UTF8.GetBytes(_addresses.Family)))
                throw Invalid(name, "spec.ipFamilies[0]", family.AsString(), "not configured on this cluster");
        }
        if (spec["ipFamilies"u8].Count == 0)
            spec.GetOrAddArray("ipFamilies"u8).AppendString(System.Text.Encoding.UTF8.GetBytes(_addresses.Family));

        var wanted = spec["clusterIP"u8].AsString();
        if (wanted.Length == 0 && spec["clusterIPs"u8].Count > 0)
            wanted = spec["clusterIPs"u8][0].AsString();
        var held = oldSpec["clusterIP"u8].AsString();
        if (wanted.Length == 0 && held.Length > 0 && !oldSpec["type"u8].Equals("ExternalName"u8))
            wanted = held;
        if (wanted == "None")
        {
            SetAddress(spec, wanted);
            return;
        }
        if (wanted.Length > 0 && wanted == held)
        {
            SetAddress(spec, wanted);
            return;
        }
        IPAddress address;
        if (wanted.Length > 0)
        {
            if (!IPAddress.TryParse(wanted, out address!))
                throw Invalid(name, "spec.clusterIPs[0]", wanted, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
            if (!_addresses.IsUsable(address))
            {
                throw InvalidAddress(name, wanted,
                    $"failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {_addresses.Network}");
            }
            if (!_addresses.TryTake(address))
                throw InvalidAddress(name, wanted, $"failed to allocate IP {wanted}: provided IP is already allocated");
        }
        else
        {
            address = _addresses.TakeNext()
                ?? throw ApiStatus.InternalError($"failed to allocate a serviceIP: range is full").ToException();
        }
        reservation.Taken.Add(address);
        SetAddress(spec, address.ToString());
    }

    private void PreparePortsLocked(ApiNode spec, ApiNode oldSpec, string name, string type, Reservation reservation)
    {
        var needsPorts = type == "NodePort" || type == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"u8].AsBool(fallback: true);
        var held = new HashSet<long>(NodePorts(oldSpec));
        // One port number may serve several protocols of this service.
        var own = new Dictionary<long, HashSet<string>>();
        var index = 0;
        foreach (var port in spec["ports"u8].Elements)
        {
            var protocol = port["protocol"u8].AsString();
            var wanted = port["nodePort"u8].AsInt64();
            if (type == "ClusterIP")
            {
                // A service that is no longer NodePort gives its ports back without being told.
                if (wanted > 0 && held.Contains(wanted))
                    port.Remove("nodePort"u8);
                continue;
            }
            if (wanted > 0)
            {
                if (!held.Contains(wanted) && !own.ContainsKey(wanted))
                    TakePortLocked(wanted, name, $"spec.ports[{index}].nodePort", reservation);
                Remember(own, wanted, protocol);
            }
            index++;
        }
        if (needsPorts)
        {
            foreach (var port in spec["ports"u8].Elements)
            {
                if (port["nodePort"u8].AsInt64() > 0)
                    continue;
                var chosen = KeptPort(oldSpec, port, own) ?? TakeNextPortLocked(reservation);
                port.Set("nodePort"u8, chosen);
                Remember(own, chosen, port["protocol"u8].AsString());
            }
        }
        if (type == "LoadBalancer" && spec["externalTrafficPolicy"u8].Equals("Local"u8))
        {
            var check = spec["healthCheckNodePort"u8].AsInt64();
            var heldCheck = oldSpec["healthCheckNodePort"u8].AsInt64();
            if (check == 0)
                spec.Set("healthCheckNodePort"u8, heldCheck > 0 ? heldCheck : TakeNextPortLocked(reservation));
            else if (check != heldCheck)
                TakePortLocked(check, name, "spec.healthCheckNodePort", reservation);
        }
        else
        {
            spec.Remove("healthCheckNodePort"u8);
        }
    }

    private void ReleaseUnusedLocked(ApiNode obj, ApiNode old, Reservation reservation)
    {
        if (!old.IsDefined)
            return;
        var keptAddresses = new HashSet<IPAddress>(Addresses(obj["spec"u8]));
        foreach (var address in Addresses(old["spec"u8]))
        {
            if (!keptAddresses.Contains(address))
                reservation.Unused.Add(address);
        }
        var keptPorts = new HashSet<long>(NodePorts(obj["spec"u8]));
        foreach (var port in NodePorts(old["spec"u8]))
        {
            if (!keptPorts.Contains(port))
                reservation.UnusedPorts.Add(port);
        }
    }

    private void TakePortLocked(long port, string name, string field, Reservation reservation)
    {
        if (port < _portRange.First || port > _portRange.Last)
        {
            var errors = new FieldErrorList();
            errors.Invalid(field, port, $"provided port is not in the valid range. The range of valid ports is {_portRange.First}-{_portRange.Last}");
            throw ApiStatus.Invalid("", "Service", name, errors).ToException();
        }
        if (!_ports.Add(port))
        {
            var errors = new FieldErrorList();
            errors.Invalid(field, port, "provided port is already allocated");
            throw ApiStatus.Invalid("", "Service", name, errors).ToException();
        }
        reservation.TakenPorts.Add(port);
    }

    private long TakeNextPortLocked(Reservation reservation)
    {
        var size = _portRange.Last - _portRange.First + 1;
        // The lower band is left for ports that users ask for, as upstream's allocator does.
        var band = Math.Min(Math.Max(16, size / 32), 128);
        if (band >= size)
            band = 0;
        if (TakePortBetweenLocked(_portRange.First + band, _portRange.Last) is { } upper)
        {
            reservation.TakenPorts.Add(upper);
            return upper;
        }
        if (band > 0 && TakePortBetweenLocked(_portRange.First, _portRange.First + band - 1) is { } lower)
        {
            reservation.TakenPorts.Add(lower);
            return lower;
        }
        throw ApiStatus.InternalError("failed to allocate a nodePort: range is full").ToException();
    }

    private long? TakePortBetweenLocked(int first, int last)
    {
        var size = last - first + 1;
        var offset = _random.Next(size);
        for (var i = 0; i < size; i++)
        {
            long port = first + (offset + i) % size;
            if (_ports.Add(port))
                return port;
        }
        return null;
    }

    // A port that comes without number keeps the one that the same port had; same port number for TCP and UDP may share.
    private static long? KeptPort(ApiNode oldSpec, ApiNode port, Dictionary<long, HashSet<string>> own)
    {
        foreach (var old in oldSpec["ports"u8].Elements)
        {
            var number = old["nodePort"u8].AsInt64();
            if (number > 0 && old["port"u8].AsInt64() == port["port"u8].AsInt64() && old["protocol"u8].DeepEquals(port["protocol"u8])
                && !(own.TryGetValue(number, out var used) && used.Contains(port["protocol"u8].AsString())))
                return number;
        }
        return null;
    }

    private static void Remember(Dictionary<long, HashSet<string>> own, long port, string protocol)
    {
        if (!own.TryGetValue(port, out var protocols))
            own[port] = protocols = [];
        protocols.Add(protocol);
    }

    private static void SetAddress(ApiNode spec, string address)
    {
        spec.Set("clusterIP"u8, address);
        var all = spec.GetOrAddArray("clusterIPs"u8);
        all.Clear();
        all.AppendString(System.Text.Encoding.UTF8.GetBytes(address));
    }

    private static List<IPAddress> Addresses(ApiNode spec)
    {
        var addresses = new List<IPAddress>();
        if (!spec["type"u8].Equals("ExternalName"u8) && IPAddress.TryParse(spec["clusterIP"u8].AsString(), out var address))
            addresses.Add(address);
        return addresses;
    }

    private static List<long> NodePorts(ApiNode spec)
    {
        var ports = new List<long>();
        foreach (var port in spec["ports"u8].Elements)
        {
            if (port["nodePort"u8].AsInt64() is > 0 and var number)
                ports.Add(number);
        }
        if (spec["healthCheckNodePort"u8].AsInt64() is > 0 and var check)
            ports.Add(check);
        return ports;
    }

    private static ApiStatusException Invalid(string name, string field, string value, string detail)
    {
        var errors = new FieldErrorList();
        errors.Invalid(field, value, detail);
        return ApiStatus.Invalid("", "Service", name, errors).ToException();
    }

    private static ApiStatusException InvalidAddress(string name, string address, string detail)
    {
        var errors = new FieldErrorList();
        errors.AddRaw(FieldErrorType.Invalid, "spec.clusterIPs", $"[{GoText.Quote(address)}]", detail);
        return ApiStatus.Invalid("", "Service", name, errors).ToException();
    }

    private sealed class Reservation(ServiceAllocator owner) : IWriteReservation
    {
        internal List<IPAddress> Taken { get; } = [];

        internal List<long> TakenPorts { get; } = [];

        internal List<IPAddress> Unused { get; } = [];

        internal List<long> UnusedPorts { get; } = [];

        public void Commit() => Release(Unused, UnusedPorts);

        public void Rollback() => Release(Taken, TakenPorts);

        private void Release(List<IPAddress> addresses, List<long> ports)
        {
            lock (owner._gate)
            {
                foreach (var address in addresses)
                    owner._addresses.Release(address);
                foreach (var port in ports)
                    owner._ports.Remove(port);
            }
        }
    }
}
