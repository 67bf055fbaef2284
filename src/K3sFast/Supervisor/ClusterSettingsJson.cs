using System.Net;
using System.Text.Json;
using K3sFast.Configuration;

namespace K3sFast.Supervisor;

/// <summary>
/// The body of /v1-k3s/config: the cluster's settings under the names that k3s' agents read. Networks are written as Go does:
/// <c>{"IP":"10.42.0.0","Mask":"//8AAA=="}</c>, the mask's bytes in base64.
/// </summary>
internal static class ClusterSettingsJson
{
    public static byte[] Write(ClusterSettings settings)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteStartArray("ClusterDNSs");
            foreach (var address in settings.ClusterDns)
                json.WriteStringValue(address.ToString());
            json.WriteEndArray();
            json.WriteString("ClusterDNS", settings.ClusterDns[0].ToString());
            json.WriteString("ClusterDomain", settings.ClusterDomain);
            WriteNetwork(json, "ClusterIPRange", settings.ClusterCidrs[0]);
            WriteNetworks(json, "ClusterIPRanges", settings.ClusterCidrs);
            WriteNetwork(json, "ServiceIPRange", settings.ServiceCidrs[0]);
            WriteNetworks(json, "ServiceIPRanges", settings.ServiceCidrs);
            json.WriteBoolean("DisableKubeProxy", !settings.HasProxy);
            json.WriteBoolean("DisableNPC", !settings.HasNetworkPolicy);
            // No tunnel: the API speaks to kubelets and endpoints by their addresses.
            json.WriteString("EgressSelectorMode", "disabled");
            json.WriteBoolean("EmbeddedRegistry", false);
            json.WriteString("FlannelBackend", settings.FlannelBackend);
            json.WriteBoolean("FlannelIPv6Masq", settings.FlannelIPv6Masq);
            json.WriteBoolean("FlannelExternalIP", settings.FlannelExternalIP);
            json.WriteNumber("HTTPSPort", settings.HttpsPort);
            json.WriteNumber("SupervisorPort", settings.HttpsPort);
            json.WriteEndObject();
        }
        return stream.ToArray();
    }

    /// <exception cref="ConfigurationException">Not the settings of a cluster.</exception>
    public static ClusterSettings Read(ReadOnlyMemory<byte> bytes)
    {
        try
        {
            using var document = JsonDocument.Parse(bytes);
            var root = document.RootElement;
            return new()
            {
                ClusterCidrs = [.. root.GetProperty("ClusterIPRanges").EnumerateArray().Select(ReadNetwork)],
                ServiceCidrs = [.. root.GetProperty("ServiceIPRanges").EnumerateArray().Select(ReadNetwork)],
                ClusterDns = [.. root.GetProperty("ClusterDNSs").EnumerateArray().Select(static address => IPAddress.Parse(address.GetString()!))],
                ClusterDomain = root.GetProperty("ClusterDomain").GetString()!,
                FlannelBackend = root.GetProperty("FlannelBackend").GetString()!,
                FlannelIPv6Masq = IsTrue(root, "FlannelIPv6Masq"),
                FlannelExternalIP = IsTrue(root, "FlannelExternalIP"),
                HasProxy = !IsTrue(root, "DisableKubeProxy"),
                HasNetworkPolicy = !IsTrue(root, "DisableNPC"),
                HttpsPort = root.GetProperty("HTTPSPort").GetInt32(),
            };
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or ArgumentException)
        {
            throw new ConfigurationException($"the server's answer to /v1-k3s/config is not the settings of a cluster: {e.Message}", e);
        }
    }

    private static bool IsTrue(JsonElement root, string name) => root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.True;

    private static void WriteNetworks(Utf8JsonWriter json, string name, IReadOnlyList<IPNetwork> networks)
    {
        json.WriteStartArray(name);
        foreach (var network in networks)
            WriteNetwork(json, null, network);
        json.WriteEndArray();
    }

    private static void WriteNetwork(Utf8JsonWriter json, string? name, IPNetwork network)
    {
        if (name is null)
            json.WriteStartObject();
        else
            json.WriteStartObject(name);
        json.WriteString("IP", network.BaseAddress.ToString());
        var mask = new byte[network.BaseAddress.GetAddressBytes().Length];
        for (var bit = 0; bit < network.PrefixLength; bit++)
            mask[bit / 8] |= (byte)(0x80 >> (bit % 8));
        json.WriteBase64String("Mask", mask);
        json.WriteEndObject();
    }

    private static IPNetwork ReadNetwork(JsonElement element)
    {
        var length = 0;
        foreach (var part in element.GetProperty("Mask").GetBytesFromBase64())
            length += System.Numerics.BitOperations.PopCount(part);
        return new(IPAddress.Parse(element.GetProperty("IP").GetString()!), length);
    }
}
