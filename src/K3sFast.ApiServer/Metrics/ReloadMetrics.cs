using System.Security.Cryptography;
using System.Text;
using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>How often a configuration file was taken over while the server ran, and when last, under upstream's names.</summary>
internal sealed class ReloadMetrics
{
    private readonly MetricFamily<Counter> _reloads;
    private readonly MetricFamily<Gauge> _times;
    private readonly string _server;

    /// <param name="registry">Where they are registered.</param>
    /// <param name="subject">authentication or authorization.</param>
    /// <param name="server">The server's identity; its hash tells servers apart.</param>
    internal ReloadMetrics(MetricRegistry registry, string subject, string server)
    {
        _server = $"sha256:{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(server)))}";
        var prefix = $"apiserver_{subject}_config_controller_automatic_reload";
        _reloads = registry.Counters(
            $"{prefix}s_total", $"[BETA] Total number of automatic reloads of {subject} configuration split by status and apiserver identity.", "status", "apiserver_id_hash");
        _times = registry.Gauges(
            $"{prefix}_last_timestamp_seconds", $"[BETA] Timestamp of the last automatic reload of {subject} configuration split by status and apiserver identity.",
            "status", "apiserver_id_hash");
    }

    /// <summary>The file changed, and is in force or is not.</summary>
    internal void Note(bool isInForce, DateTimeOffset now)
    {
        var status = isInForce ? "success" : "failure";
        _reloads.With(status, _server).Add();
        _times.With(status, _server).Set(now.ToUnixTimeMilliseconds() / 1000.0);
    }
}
