using System.Text.Json;
using K3sFast.Pki;

namespace K3sFast.Agent;

/// <summary>
/// The servers that an agent knows, in k3s' file agent/etc/k3s-agent-load-balancer.json: <c>{"ServerURL":"https://…","ServerAddresses":["…"]}</c>. An
/// agent that starts while the server of its flag is down finds another.
/// </summary>
internal static class ServerList
{
    /// <summary>Addresses (<c>host:port</c>) that were known last time, when the flag still names the same server; else none.</summary>
    public static IReadOnlyList<string> Read(string path, Uri server)
    {
        if (PemFiles.IsMissing(path))
            return [];
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            var root = document.RootElement;
            if (!root.TryGetProperty("ServerURL", out var url) || url.GetString()?.TrimEnd('/') != server.AbsoluteUri.TrimEnd('/'))
                return [];
            return [.. root.GetProperty("ServerAddresses").EnumerateArray().Select(static address => address.GetString() ?? "").Where(IsAddress)];
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or IOException)
        {
            return [];
        }
    }

    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Write(string path, Uri server, IEnumerable<string> addresses)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteString("ServerURL", server.AbsoluteUri.TrimEnd('/'));
            json.WriteStartArray("ServerAddresses");
            foreach (var address in addresses)
                json.WriteStringValue(address);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        PemFiles.WriteWhole(path, System.Text.Encoding.UTF8.GetString(stream.GetBuffer().AsSpan(0, (int)stream.Length)) + "\n", UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    /// <summary>True for <c>host:port</c>, an IPv6 address in brackets.</summary>
    public static bool IsAddress(string text) =>
        text.LastIndexOf(':') is > 0 and var colon && ushort.TryParse(text.AsSpan(colon + 1), out var port) && port > 0;
}
