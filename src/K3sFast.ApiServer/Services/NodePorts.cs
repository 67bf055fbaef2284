using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// The node ports that Services hold. Dynamic allocation prefers the upper part of the range; the lower band of size/32, between 16 and 128 ports, is left
/// for ports that users ask for, as upstream has it.
/// </summary>
/// <remarks>
/// Any thread. A server alone knows them by reading all Services at start; where servers share a datastore, the ledger in it decides.
/// </remarks>
internal sealed class NodePorts(int first, int last, NodePortLedger? ledger = null, AddressMetrics? metrics = null)
{
    private const int MinBand = 16;
    private const int MaxBand = 128;
    private const int BandStep = 32;

    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly HashSet<long> _taken = [];

    // With a ledger, what it held when this server saw it last.
    private int _seen;

    // Owned by the repair loop
    private HashSet<long> _unheld = [];

    /// <summary>True where a ledger decides that all servers share.</summary>
    internal bool HasLedger => ledger is not null;

    private int Band => last - first + 1 <= MinBand ? 0 : Math.Clamp((last - first + 1) / BandStep, MinBand, MaxBand);

    /// <summary>Ports of the range.</summary>
    internal int Size => last - first + 1;

    /// <summary>Ports that are taken, as far as this server knows.</summary>
    internal int Taken
    {
        get
        {
            if (ledger is not null)
                return Volatile.Read(ref _seen);
            lock (_gate)
                return _taken.Count;
        }
    }

    /// <summary>Takes what stored Services hold.</summary>
    internal async ValueTask LoadAsync(IReadOnlyCollection<long> ports, CancellationToken cancel)
    {
        if (ledger is null)
        {
            lock (_gate)
                _taken.UnionWith(ports);
            return;
        }
        await ledger.ChangeAsync(taken =>
        {
            var before = taken.Count;
            taken.UnionWith(ports.Where(port => port >= first && port <= last));
            return taken.Count > before;
        }, cancel).ConfigureAwait(false);
    }

    /// <summary>Takes that port; null, or why not in upstream's words.</summary>
    internal async ValueTask<string?> TryTakeAsync(long port, bool isDryRun, CancellationToken cancel)
    {
        if (port < first || port > last)
            return $"provided port is not in the valid range. The range of valid ports is {first}-{last}";
        var isFree = false;
        if (ledger is not null)
            await ledger.ChangeAsync(taken => (isFree = taken.Add(port)) && !isDryRun, cancel).ConfigureAwait(false);
        lock (_gate)
            isFree = ledger is null ? _taken.Add(port) : isFree;
        if (!isDryRun)
            metrics?.Port(isFree, isAskedFor: true);
        return isFree ? null : "provided port is already allocated";
    }

    /// <summary>Takes a free port; null when all are taken.</summary>
    internal async ValueTask<long?> TakeNextAsync(bool isDryRun, CancellationToken cancel)
    {
        long? port = null;
        if (ledger is not null)
        {
            await ledger.ChangeAsync(taken => (port = TakeFree(taken)) is not null && !isDryRun, cancel).ConfigureAwait(false);
        }
        else
        {
            lock (_gate)
                port = TakeFree(_taken);
        }
        if (!isDryRun)
            metrics?.Port(port is not null, isAskedFor: false);
        return port;
    }

    /// <summary>Gives ports back that were taken.</summary>
    internal async ValueTask ReleaseAsync(IReadOnlyCollection<long> ports)
    {
        if (ports.Count == 0)
            return;
        if (ledger is null)
        {
            lock (_gate)
                _taken.ExceptWith(ports);
            return;
        }
        await ledger.ChangeAsync(taken =>
        {
            var before = taken.Count;
            taken.ExceptWith(ports);
            return taken.Count < before;
        }, CancellationToken.None).ConfigureAwait(false);
    }

    /// <summary>Ports of the ledger that no Service holds, twice in a row: whoever took them died before his Service was stored.</summary>
    internal async ValueTask RepairAsync(IReadOnlyCollection<long> held, CancellationToken cancel)
    {
        if (ledger is null)
            return;
        HashSet<long> unheld = [];
        await ledger.ChangeAsync(taken =>
        {
            Volatile.Write(ref _seen, taken.Count);
            unheld = [.. taken.Except(held)];
            var before = taken.Count;
            taken.ExceptWith(unheld.Intersect(_unheld));
            taken.UnionWith(held.Where(port => port >= first && port <= last));
            return taken.Count != before;
        }, cancel).ConfigureAwait(false);
        _unheld = unheld;
    }

    /// <summary>All node ports that a Service holds, its health check's too.</summary>
    internal static List<long> Of(ApiNode spec)
    {
        var ports = OfPorts(spec);
        if (spec["healthCheckNodePort"u8].AsInt64() is > 0 and var check)
            ports.Add(check);
        return ports;
    }

    internal static List<long> OfPorts(ApiNode spec)
    {
        var ports = new List<long>();
        foreach (var port in spec["ports"u8].Elements)
        {
            if (port["nodePort"u8].AsInt64() is > 0 and var number)
                ports.Add(number);
        }
        return ports;
    }

    private long? TakeFree(HashSet<long> taken) => TakeBetween(taken, first + Band, last) ?? TakeBetween(taken, first, first + Band - 1);

    private static long? TakeBetween(HashSet<long> taken, int from, int to)
    {
        var size = to - from + 1;
        if (size <= 0)
            return null;
        var offset = Random.Shared.Next(size);
        for (var i = 0; i < size; i++)
        {
            long port = from + (offset + i) % size;
            if (taken.Add(port))
                return port;
        }
        return null;
    }
}
