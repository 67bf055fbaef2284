using System.Text.Json;
using K3sFast.Configuration;
using K3sFast.Network;

namespace K3sFast.Server;

/// <summary>
/// flannel's net-conf.json, for <c>--flannel-conf</c>: <c>{"Network": …, "Backend": {"Type": "vxlan", "VNI": 1, "Port": 8472}}</c>. The networks are the
/// cluster's, whatever it says; of the backend every key counts or is refused.
/// </summary>
internal static class FlannelConf
{
    private const int SharedKeyBytes = 32;

    /// <summary>The options with what the file says in place.</summary>
    /// <exception cref="ConfigurationException">It cannot be read, or says what this node cannot do; the message names file and key.</exception>
    public static OverlayOptions Read(string path, OverlayOptions options)
    {
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            return Apply(path, document.RootElement.GetProperty("Backend"), options);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"failed to read --flannel-conf {path}: {e.Message}", e);
        }
    }

    private static OverlayOptions Apply(string path, JsonElement backend, OverlayOptions options)
    {
        var type = backend.GetProperty("Type").GetString() ?? "";
        options = options with
        {
            Backend = type switch
            {
                "vxlan" => "vxlan",
                "host-gw" => "host-gw",
                "wireguard" => "wireguard-native",
                _ => throw new ConfigurationException($"--flannel-conf {path}: backend type \"{type}\" is not one of vxlan, host-gw, wireguard"),
            },
            // flannel's own default; that without a file is k3s'.
            WireGuardKeepaliveSeconds = 0,
        };
        foreach (var entry in backend.EnumerateObject())
        {
            options = (type, entry.Name) switch
            {
                (_, "Type") => options,
                ("vxlan", "VNI") => options with { Vni = entry.Value.GetInt32() },
                ("vxlan", "Port") => options with { Port = entry.Value.GetUInt16() },
                ("vxlan", "DirectRouting") => options with { IsDirectRoutingOn = entry.Value.GetBoolean() },
                // What is off is as it is here.
                ("vxlan", "GBP" or "Learning") when !entry.Value.GetBoolean() => options,
                // For Windows alone, says flannel.
                ("vxlan", "MacPrefix") => options,
                ("vxlan" or "wireguard", "MTU") => options with { UnderlayMtu = entry.Value.GetUInt16() },
                ("wireguard", "ListenPort") => options with { WireGuardPorts = (entry.Value.GetUInt16(), options.WireGuardPorts.IPv6) },
                ("wireguard", "ListenPortV6") => options with { WireGuardPorts = (options.WireGuardPorts.IPv4, entry.Value.GetUInt16()) },
                ("wireguard", "PersistentKeepaliveInterval") => options with { WireGuardKeepaliveSeconds = entry.Value.GetUInt16() },
                ("wireguard", "PSK") => options with { WireGuardSharedKey = SharedKey(path, entry.Value.GetString() ?? "") },
                ("wireguard", "Mode") when entry.Value.GetString() is "" or "separate" => options,
                _ => throw new ConfigurationException($"--flannel-conf {path}: \"{entry.Name}\": {entry.Value.GetRawText()} of backend {type} is not supported: remove it"),
            };
        }
        return options;
    }

    private static byte[] SharedKey(string path, string text)
    {
        if (text.Length == 0) return [];
        var key = new byte[SharedKeyBytes];
        if (Convert.TryFromBase64String(text, key, out var length) && length == SharedKeyBytes) return key;
        throw new ConfigurationException($"--flannel-conf {path}: \"PSK\" is not a key of {SharedKeyBytes} bytes in base64 (wg genpsk makes one)");
    }
}
