using K3sFast.Client;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Brings the configuration into force that the ConfigMaps tell, again at each change. One that cannot be used is said loudly, and the last
/// good one goes on serving. No question is lost: those under way end with what they began with.
/// </summary>
internal sealed class DnsReloader(DnsParts parts, DnsConfigMaps maps, DnsListeners listeners, EventRecorder events)
{
    // How long an old configuration may still be finishing questions: both rounds of a forward's servers.
    private static readonly TimeSpan s_grace = TimeSpan.FromSeconds(30);

    // Owned by the loop
    private string _corefile = "";
    private CorefileFiles? _files;

    /// <summary>The first configuration; the built-in one where the ConfigMap's cannot be used.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">The server's own port is in use.</exception>
    internal DnsConfig Load()
    {
        (_corefile, _files) = (maps.Corefile, maps.Files);
        DnsConfig config;
        try
        {
            config = Build(_corefile, _files);
            parts.Engine.Value = new DnsEngine(config);
            listeners.Follow(config);
        }
        catch (CorefileException wrong)
        {
            Complain(wrong.Message, "The built-in default serves until it is mended");
            config = Build(DefaultCorefile.For(parts.Options.ClusterDomain), _files);
            parts.Engine.Value = new DnsEngine(config);
            listeners.Follow(config);
        }
        config.Start();
        return config;
    }

    /// <summary>Looks at the ConfigMaps and takes over what changed.</summary>
    internal void Reload(CancellationToken cancellationToken)
    {
        var (corefile, files) = (maps.Corefile, maps.Files);
        var isSameText = corefile == _corefile;
        if (isSameText && files.HasSameContent(_files!)) return;
        var engine = parts.Engine.Value;
        var old = engine.Config;
        (_corefile, _files) = (corefile, files);
        if (!old.Reloads && !isSameText)
        {
            Log.CorefileNotReloaded(parts.Logger);
            return;
        }
        DnsConfig config;
        try
        {
            config = Build(corefile, files);
            listeners.Follow(config);
        }
        catch (CorefileException wrong)
        {
            Complain(wrong.Message, "The last good configuration goes on serving");
            return;
        }
        if (isSameText) Inherit(config, old);
        engine.Config = config;
        config.Start();
        listeners.Forget(config);
        _ = RetireAsync(old, cancellationToken);
    }

    private DnsConfig Build(string corefile, CorefileFiles files)
    {
        var config = DnsConfigBuilder.Build(corefile, files, parts, out var warnings);
        foreach (var warning in warnings) Log.CorefileWarning(parts.Logger, warning);
        Log.CorefileLoaded(parts.Logger, config.Blocks.Count);
        return config;
    }

    private void Complain(string message, string consequence)
    {
        parts.Metrics.ReloadFailed.Add();
        Log.CorefileRefused(parts.Logger, message, consequence);
        events.Record(maps.Reference, "Warning", "CorefileRefused", $"{message}. {consequence}.");
    }

    // Only a file beside the Corefile changed (a node joined): what is kept of other servers' answers stays true.
    private static void Inherit(DnsConfig config, DnsConfig old)
    {
        foreach (var block in config.Blocks)
        {
            var before = old.Blocks.FirstOrDefault(other => other.Port == block.Port && other.Zone.AsSpan().SequenceEqual(block.Zone));
            if (before?.Plugins.OfType<CachePlugin>().FirstOrDefault() is { } kept) block.Plugins.OfType<CachePlugin>().FirstOrDefault()?.Inherit(kept);
        }
    }

    private async Task RetireAsync(DnsConfig old, CancellationToken cancellationToken)
    {
        await Task.Delay(s_grace, parts.Time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        old.Dispose();
    }
}
