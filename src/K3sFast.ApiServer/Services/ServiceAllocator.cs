using System.Net;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Gives Services their cluster addresses and node ports, before they are validated and stored; undone when the write fails. What a Service no longer
/// needs is given back when its write is done, and its Endpoints go with it.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class ServiceAllocator(ServiceAddresses addresses, NodePorts ports, ResourceStorage endpoints, Func<WriteFlow> writes) : IWriteHook
{
    /// <summary>The kubernetes Service's address: the first of the range.</summary>
    internal static IPAddress FirstAddress(IPNetwork serviceCidr)
    {
        var bytes = serviceCidr.BaseAddress.GetAddressBytes();
        bytes[^1]++;
        return new IPAddress(bytes);
    }

    public async ValueTask<IWriteReservation?> BeginAsync(ApiNode obj, ApiNode old, bool isDryRun, CancellationToken cancel)
    {
        var reservation = new Reservation(this, isDryRun);
        if (!obj.IsDefined)
        {
            ReleaseAll(old, reservation);
            return reservation;
        }
        try
        {
            var spec = obj.GetOrAddObject("spec"u8);
            var oldSpec = old["spec"u8];
            if (oldSpec.IsDefined)
                ServiceFields.KeepAllocated(spec, oldSpec);
            if (ServiceFields.IsExternalName(spec))
                spec.Remove("internalTrafficPolicy"u8);
            ServiceFields.Normalize(spec, oldSpec);
            ServiceFields.SetFamilies(obj, oldSpec, addresses.Families);
            await SetAddressesAsync(obj, oldSpec, reservation, cancel).ConfigureAwait(false);
            var name = ObjectText.NameOf(obj);
            if (oldSpec.IsDefined)
                await UpdatePortsAsync(spec, oldSpec, name, reservation, cancel).ConfigureAwait(false);
            else if (ServiceFields.HasNodePorts(spec))
                await TakePortsAsync(spec, name, reservation, cancel).ConfigureAwait(false);
            await SetHealthCheckPortAsync(spec, oldSpec, reservation, cancel).ConfigureAwait(false);
            return reservation;
        }
        catch
        {
            await reservation.RollbackAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async ValueTask SetAddressesAsync(ApiNode service, ApiNode old, Reservation reservation, CancellationToken cancel)
    {
        var spec = service["spec"u8];
        var hadAddresses = old.IsDefined && !ServiceFields.IsExternalName(old);
        if (ServiceFields.IsExternalName(spec))
        {
            if (hadAddresses)
                reservation.Unused.AddRange(Addresses(old));
            return;
        }
        if (!hadAddresses)
        {
            if (!ServiceFields.IsHeadless(spec))
                await TakeAddressesAsync(service, 0, reservation, cancel).ConfigureAwait(false);
            return;
        }
        if (ServiceFields.IsHeadless(old))
            return;
        // One address more or one less; the first one never changes.
        if (old["ipFamilies"u8].Count == 1 && spec["ipFamilies"u8].Count == 2)
            await TakeAddressesAsync(service, 1, reservation, cancel).ConfigureAwait(false);
        else if (old["ipFamilies"u8].Count == 2 && spec["ipFamilies"u8].Count == 1)
            reservation.Unused.AddRange(Addresses(old).Skip(1));
    }

    private async ValueTask TakeAddressesAsync(ApiNode service, int first, Reservation reservation, CancellationToken cancel)
    {
        var spec = service["spec"u8];
        string ns = ObjectText.NamespaceOf(service), name = ObjectText.NameOf(service);
        var families = ServiceFields.Texts(spec["ipFamilies"u8]);
        var all = ServiceFields.Texts(spec["clusterIPs"u8]);
        for (var i = first; i < families.Count; i++)
        {
            if (i < all.Count)
            {
                var wanted = IPAddress.Parse(all[i]);
                if (await addresses.TryTakeAsync(wanted, ns, name, reservation.IsDryRun, cancel).ConfigureAwait(false) is { } why)
                {
                    var errors = new FieldErrorList();
                    errors.Invalid("spec.clusterIPs", spec["clusterIPs"u8], $"failed to allocate IP {all[i]}: {why}");
                    throw ApiStatus.Invalid("", "Service", name, errors).ToException();
                }
                reservation.Taken.Add(wanted);
                continue;
            }
            var address = await addresses.TakeNextAsync(families[i], ns, name, reservation.IsDryRun, cancel).ConfigureAwait(false)
                ?? throw ApiStatus.InternalError($"failed to allocate a serviceIP for Service {GoText.Quote(name)}: range is full").ToException();
            reservation.Taken.Add(address);
            all.Add(address.ToString());
        }
        ServiceFields.SetList(spec, "clusterIPs"u8, all);
        if (all.Count > 0)
            spec.Set("clusterIP"u8, all[0]);
    }

    // Entries of one port number share one node port, whatever their protocols.
    private async ValueTask TakePortsAsync(ApiNode spec, string name, Reservation reservation, CancellationToken cancel)
    {
        var chosen = new Dictionary<long, long>();
        var index = -1;
        foreach (var port in spec["ports"u8].Elements)
        {
            index++;
            var given = port["nodePort"u8].AsInt64();
            if (given == 0 && !ServiceFields.NeedsNodePorts(spec))
                continue;
            var number = port["port"u8].AsInt64();
            if (!chosen.TryGetValue(number, out var known))
            {
                var requested = RequestedPort(spec["ports"u8], number);
                if (requested != 0)
                    await TakePortAsync(requested, name, $"spec.ports[{index}].nodePort", reservation, cancel).ConfigureAwait(false);
                chosen[number] = known = requested != 0 ? requested : await TakeNextPortAsync(reservation, cancel).ConfigureAwait(false);
                port.Set("nodePort"u8, known);
            }
            else if (given == 0)
            {
                port.Set("nodePort"u8, known);
            }
            else if (given != known)
            {
                await TakePortAsync(given, name, $"spec.ports[{index}].nodePort", reservation, cancel).ConfigureAwait(false);
            }
        }
    }

    private async ValueTask UpdatePortsAsync(ApiNode spec, ApiNode old, string name, Reservation reservation, CancellationToken cancel)
    {
        var held = NodePorts.OfPorts(old);
        if (!ServiceFields.HasNodePorts(spec))
        {
            if (ServiceFields.HasNodePorts(old))
                reservation.UnusedPorts.AddRange(held);
            return;
        }
        var taken = new HashSet<long>();
        var seen = new HashSet<(string Protocol, long Port)>();
        var index = -1;
        foreach (var port in spec["ports"u8].Elements)
        {
            index++;
            var number = port["nodePort"u8].AsInt64();
            if (number == 0 && !ServiceFields.NeedsNodePorts(spec))
                continue;
            if (number == 0)
            {
                number = await TakeNextPortAsync(reservation, cancel).ConfigureAwait(false);
                port.Set("nodePort"u8, number);
            }
            else if (!held.Contains(number) && taken.Add(number))
                await TakePortAsync(number, name, $"spec.ports[{index}].nodePort", reservation, cancel).ConfigureAwait(false);
            var protocol = port["protocol"u8].AsString();
            if (!seen.Add((protocol, number)))
                throw ApiStatus.Unknown($"duplicate nodePort: {{{protocol} {number}}}").ToException();
        }
        reservation.UnusedPorts.AddRange(held.Except(NodePorts.OfPorts(spec)));
    }

    private async ValueTask SetHealthCheckPortAsync(ApiNode spec, ApiNode old, Reservation reservation, CancellationToken cancel)
    {
        bool isNeeded = ServiceFields.NeedsHealthCheck(spec), wasNeeded = old.IsDefined && ServiceFields.NeedsHealthCheck(old);
        if (isNeeded && !wasNeeded)
        {
            var wanted = spec["healthCheckNodePort"u8].AsInt64();
            if (wanted == 0)
            {
                var port = await TakeNextAsync(reservation, cancel).ConfigureAwait(false)
                    ?? throw ApiStatus.InternalError("failed to allocate a HealthCheck NodePort 0: range is full").ToException();
                spec.Set("healthCheckNodePort"u8, port);
            }
            else if (await TakeAsync(wanted, reservation, cancel).ConfigureAwait(false) is { } why)
            {
                throw ApiStatus.InternalError($"failed to allocate requested HealthCheck NodePort {wanted}: {why}").ToException();
            }
        }
        else if (wasNeeded && !isNeeded && old["healthCheckNodePort"u8].AsInt64() is > 0 and var held)
        {
            reservation.UnusedPorts.Add(held);
        }
    }

    private void ReleaseAll(ApiNode old, Reservation reservation)
    {
        reservation.Unused.AddRange(Addresses(old["spec"u8]));
        reservation.UnusedPorts.AddRange(NodePorts.Of(old["spec"u8]));
        reservation.Endpoints = (ObjectText.NamespaceOf(old), ObjectText.NameOf(old));
    }

    private static long RequestedPort(ApiNode entries, long number)
    {
        foreach (var entry in entries.Elements)
        {
            if (entry["port"u8].AsInt64() == number && entry["nodePort"u8].AsInt64() is > 0 and var requested)
                return requested;
        }
        return 0;
    }

    private async ValueTask TakePortAsync(long port, string name, string field, Reservation reservation, CancellationToken cancel)
    {
        if (await TakeAsync(port, reservation, cancel).ConfigureAwait(false) is not { } why)
            return;
        var errors = new FieldErrorList();
        errors.Invalid(field, port, why);
        throw ApiStatus.Invalid("", "Service", name, errors).ToException();
    }

    private async ValueTask<long> TakeNextPortAsync(Reservation reservation, CancellationToken cancel) =>
        await TakeNextAsync(reservation, cancel).ConfigureAwait(false) ?? throw ApiStatus.InternalError("failed to allocate a nodePort: range is full").ToException();

    // A dry run takes a free port too, and gives it back at the end; of the servers' common ledger it takes none.
    private async ValueTask<string?> TakeAsync(long port, Reservation reservation, CancellationToken cancel)
    {
        var why = await ports.TryTakeAsync(port, reservation.IsDryRun, cancel).ConfigureAwait(false);
        if (why is null)
            reservation.TakenPorts.Add(port);
        return why;
    }

    private async ValueTask<long?> TakeNextAsync(Reservation reservation, CancellationToken cancel)
    {
        var port = await ports.TakeNextAsync(reservation.IsDryRun, cancel).ConfigureAwait(false);
        if (port is { } taken)
            reservation.TakenPorts.Add(taken);
        return port;
    }

    private static List<IPAddress> Addresses(ApiNode spec)
    {
        var found = new List<IPAddress>();
        if (ServiceFields.IsExternalName(spec))
            return found;
        foreach (var text in ServiceFields.Texts(spec["clusterIPs"u8]))
        {
            if (IPAddress.TryParse(text, out var address))
                found.Add(address);
        }
        return found;
    }

    private sealed class Reservation(ServiceAllocator owner, bool isDryRun) : IWriteReservation
    {
        internal bool IsDryRun => isDryRun;

        internal List<IPAddress> Taken { get; } = [];

        internal List<long> TakenPorts { get; } = [];

        internal List<IPAddress> Unused { get; } = [];

        internal List<long> UnusedPorts { get; } = [];

        internal (string Namespace, string Name)? Endpoints { get; set; }

        public async ValueTask CommitAsync()
        {
            await owner.ReleasePortsAsync(UnusedPorts).ConfigureAwait(false);
            foreach (var address in Unused)
                await owner.ReleaseAsync(address).ConfigureAwait(false);
            if (Endpoints is { } gone)
                await owner.DeleteEndpointsAsync(gone.Namespace, gone.Name).ConfigureAwait(false);
        }

        public async ValueTask RollbackAsync()
        {
            if (!isDryRun || !owner.HasLedger)
                await owner.ReleasePortsAsync(TakenPorts).ConfigureAwait(false);
            if (isDryRun)
                return;
            foreach (var address in Taken)
                await owner.ReleaseAsync(address).ConfigureAwait(false);
        }
    }

    private bool HasLedger => ports.HasLedger;

    private ValueTask ReleasePortsAsync(List<long> released) => ports.ReleaseAsync(released);

    private ValueTask ReleaseAsync(IPAddress address) => addresses.ReleaseAsync(address);

    // Endpoints are the Service's shadow: also those that nobody's selector made.
    private async ValueTask DeleteEndpointsAsync(string ns, string name)
    {
        using var current = endpoints.Get(ns, name);
        if (current is null)
            return;
        var context = new WriteContext(UserInfo.ApiServer, ns, name, false, CancellationToken.None);
        using var gone = await writes().DeleteNowAsync(endpoints, current, context).ConfigureAwait(false);
    }
}
