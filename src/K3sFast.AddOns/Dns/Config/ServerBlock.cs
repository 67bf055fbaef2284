namespace K3sFast.AddOns.Dns;

/// <summary>The plugins for one zone on one port. Immutable.</summary>
internal sealed class ServerBlock(int port, byte[] zone, Plugin[] plugins) : IDisposable
{
    internal int Port { get; } = port;

    internal byte[] Zone { get; } = zone;

    /// <summary>In the order in which they are asked.</summary>
    internal Plugin[] Plugins { get; } = plugins;

    /// <summary>As metrics name the server: dns://:53.</summary>
    internal string Server { get; } = $"dns://:{port}";

    /// <summary>Counts, where the block has the prometheus plugin.</summary>
    internal BlockMetrics? Metrics { get; init; }

    /// <summary>True where failures are to be logged (the errors plugin).</summary>
    internal bool LogsErrors { get; init; }

    internal void Start()
    {
        foreach (var plugin in Plugins) plugin.Start();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var plugin in Plugins) plugin.Dispose();
    }
}
