using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// The node ports that Services hold. Dynamic allocation prefers the upper part of the range; the lower band of size/32, between 16 and 128 ports, is left
/// for ports that users ask for, as upstream has it.
/// </summary>
/// <remarks>Any thread. Known by reading all Services at start: one server allocates.</remarks>
internal sealed class NodePorts(int first, int last)
{
    private const int MinBand = 16;
    private const int MaxBand = 128;
    private const int BandStep = 32;

    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly HashSet<long> _taken = [];
    private readonly Random _random = new();

    private int Band => last - first + 1 <= MinBand ? 0 : Math.Clamp((last - first + 1) / BandStep, MinBand, MaxBand);

    /// <summary>Takes what a stored Service holds.</summary>
    internal void Load(IEnumerable<long> ports)
    {
        lock (_gate)
            _taken.UnionWith(ports);
    }

    /// <summary>Takes that port; null, or why not in upstream's words.</summary>
    internal string? TryTake(long port)
    {
        if (port < first || port > last)
            return $"provided port is not in the valid range. The range of valid ports is {first}-{last}";
        lock (_gate)
            return _taken.Add(port) ? null : "provided port is already allocated";
    }

    /// <summary>Takes a free port; null when all are taken.</summary>
    internal long? TakeNext()
    {
        lock (_gate)
            return TakeBetweenLocked(first + Band, last) ?? TakeBetweenLocked(first, first + Band - 1);
    }

    /// <summary>True when that port could be taken now; for dry runs.</summary>
    internal string? Probe(long port)
    {
        if (port < first || port > last)
            return TryTake(port);
        lock (_gate)
            return _taken.Contains(port) ? "provided port is already allocated" : null;
    }

    internal void Release(IEnumerable<long> ports)
    {
        lock (_gate)
            _taken.ExceptWith(ports);
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

    private long? TakeBetweenLocked(int from, int to)
    {
        var size = to - from + 1;
        if (size <= 0)
            return null;
        var offset = _random.Next(size);
        for (var i = 0; i < size; i++)
        {
            long port = from + (offset + i) % size;
            if (_taken.Add(port))
                return port;
        }
        return null;
    }
}
