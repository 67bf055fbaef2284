using System.Globalization;
using System.Text;

namespace K3sFast.LoadTest;

/// <summary>Reads single values of a server's /metrics; both kinds of server have them under the names of Go's client.</summary>
internal static class Metrics
{
    /// <summary>Bytes allocated on the collected heap since the start.</summary>
    internal static Task<double> AllocatedBytesAsync(ApiConnection api) => ReadAsync(api, "go_memstats_alloc_bytes_total");

    private static async Task<double> ReadAsync(ApiConnection api, string name)
    {
        var text = Encoding.UTF8.GetString(await api.SendAsync(HttpMethod.Get, "/metrics"));
        var line = text.Split('\n').FirstOrDefault(line => line.StartsWith(name + " ", StringComparison.Ordinal));
        return line is null ? double.NaN : double.Parse(line[(name.Length + 1)..], CultureInfo.InvariantCulture);
    }
}
