namespace K3sFast.AddOns.Dns;

/// <summary>A whole configuration in force: which server block has which name on which port. Immutable.</summary>
internal sealed class DnsConfig : IDisposable
{
    private readonly Dictionary<int, PortBlocks> _ports = [];
    private readonly List<ServerBlock> _blocks;

    internal DnsConfig(List<ServerBlock> blocks)
    {
        _blocks = blocks;
        foreach (var block in blocks)
        {
            if (!_ports.TryGetValue(block.Port, out var port)) _ports[block.Port] = port = new PortBlocks();
            port.ByZone.Add(block.Zone, block);
            if (block.Zone.Length == 1) port.Root = block;
        }
    }

    internal IReadOnlyList<ServerBlock> Blocks => _blocks;

    /// <summary>Ports as the Corefile calls them: 53 is the service's.</summary>
    internal IEnumerable<int> Ports => _ports.Keys;

    /// <summary>True where changes of the Corefile are taken over while running (the reload plugin).</summary>
    internal bool Reloads { get; init; }

    /// <summary>Where /health is answered, where it is asked for; ports of a pod (see <see cref="NodePorts"/>).</summary>
    internal StatusAddress? Health { get; init; }

    /// <summary>How long the answer to /health stays good before the server ends.</summary>
    internal TimeSpan LameDuck { get; init; }

    /// <summary>Where /ready is answered.</summary>
    internal StatusAddress? Ready { get; init; }

    /// <summary>Where /metrics is answered.</summary>
    internal StatusAddress? Metrics { get; init; }

    /// <summary>Which of the server blocks' plugins need to know the pods.</summary>
    internal bool NeedsPods { get; init; }

    /// <summary>The block whose zone is the longest that has the name; null where none has. Allocates nothing.</summary>
    internal ServerBlock? Select(int port, ReadOnlySpan<byte> name)
    {
        if (!_ports.TryGetValue(port, out var blocks)) return null;
        if (blocks.ByZone.Count == 1 && blocks.Root is { } only) return only;
        var byZone = blocks.ByZone.GetAlternateLookup<ReadOnlySpan<byte>>();
        while (true)
        {
            if (byZone.TryGetValue(name, out var block)) return block;
            if (name.Length <= 1) return null;
            name = WireName.Parent(name);
        }
    }

    internal void Start()
    {
        foreach (var block in _blocks) block.Start();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var block in _blocks) block.Dispose();
    }

    private sealed class PortBlocks
    {
        internal Dictionary<byte[], ServerBlock> ByZone { get; } = new(WireNameComparer.Instance);

        internal ServerBlock? Root { get; set; }
    }
}

/// <summary>A place where HTTP is answered: host may be empty.</summary>
internal sealed record StatusAddress(string Host, int Port);
