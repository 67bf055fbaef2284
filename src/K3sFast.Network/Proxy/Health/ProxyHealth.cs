using System.Globalization;
using System.Text.Json;
using K3sFast.Client;

namespace K3sFast.Network.Proxy.Health;

/// <summary>
/// Whether the rules follow the API: healthy while no change has waited longer than the limit. Answers /healthz (which also asks whether the node is to
/// be used at all) and /livez in upstream's form.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class ProxyHealth(TimeProvider time, IReadOnlyList<string> families, TimeSpan limit)
{
    // Guarded by _gate
    private readonly Lock _gate = new();
    private DateTimeOffset _updated = time.GetUtcNow();
    private DateTimeOffset? _queued;

    /// <summary>The node takes traffic from load balancers.</summary>
    internal bool IsNodeEligible { get; set; }

    /// <summary>No change has waited for too long.</summary>
    internal bool IsHealthy
    {
        get
        {
            lock (_gate) return _queued is not { } since || time.GetUtcNow() - since < limit;
        }
    }

    /// <summary>A change waits to be written.</summary>
    internal void Queued()
    {
        lock (_gate) _queued ??= time.GetUtcNow();
    }

    /// <summary>Everything that waited is written.</summary>
    internal void Updated()
    {
        lock (_gate) (_queued, _updated) = (null, time.GetUtcNow());
    }

    /// <summary>Answers a path; null = none of ours.</summary>
    internal HttpAnswer? Answer(string path, ProxyMetrics metrics)
    {
        if (path is not ("/healthz" or "/livez")) return null;
        var isNodeAsked = path == "/healthz";
        var isHealthy = IsHealthy;
        var status = isHealthy && (!isNodeAsked || IsNodeEligible) ? 200 : 503;
        (isNodeAsked ? metrics.Healthz : metrics.Livez).With(status == 200 ? "200" : "503").Add();
        return new HttpAnswer(status, Write(isNodeAsked ? IsNodeEligible : null, isHealthy, status == 200));
    }

    private byte[] Write(bool? isNodeEligible, bool isHealthy, bool isGood)
    {
        DateTimeOffset updated;
        lock (_gate) updated = _updated;
        var now = time.GetUtcNow();
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            // A proxy that has nothing to do is as fresh as one that has just done it.
            json.WriteString("lastUpdated", Text(isGood ? now : updated));
            json.WriteString("currentTime", Text(now));
            if (isNodeEligible is { } eligible) json.WriteBoolean("nodeEligible", eligible);
            json.WriteBoolean("healthy", isHealthy);
            json.WriteStartObject("status");
            foreach (var family in families)
            {
                json.WriteStartObject(family);
                json.WriteString("lastUpdated", Text(updated));
                json.WriteBoolean("healthy", isHealthy);
                json.WriteEndObject();
            }
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return stream.ToArray();
    }

    private static string Text(DateTimeOffset instant) => instant.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fffffff'Z'", CultureInfo.InvariantCulture);
}
