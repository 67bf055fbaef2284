using System.Buffers;
using System.Net.Sockets;
using System.Text.Json;

namespace K3sFast.Network.Cni;

/// <summary>Writes what a CNI plugin prints, in the form of the version that was asked for.</summary>
internal static class CniResult
{
    /// <summary>The result of ADD (CNI specification, "Success").</summary>
    internal static void Write(IBufferWriter<byte> output, CniRequest request, PodAttachment attachment)
    {
        // Results before 1.0 say each address' family.
        var hasVersion = request.CniVersion.StartsWith("0.", StringComparison.Ordinal);
        using var json = new Utf8JsonWriter(output);
        json.WriteStartObject();
        json.WriteString("cniVersion", request.CniVersion);
        json.WriteStartArray("interfaces");
        WriteInterface(json, attachment.HostLinkName, PodAttachment.HostAddress.GetAddressBytes(), null);
        WriteInterface(json, attachment.InterfaceName, attachment.PodAddress.GetAddressBytes(), request.NetworkNamespacePath);
        json.WriteEndArray();
        json.WriteStartArray("ips");
        foreach (var address in attachment.Addresses)
        {
            var isIPv4 = address.AddressFamily == AddressFamily.InterNetwork;
            json.WriteStartObject();
            if (hasVersion) json.WriteString("version", isIPv4 ? "4" : "6");
            json.WriteNumber("interface", 1);
            json.WriteString("address", isIPv4 ? $"{address}/32" : $"{address}/128");
            json.WriteString("gateway", (isIPv4 ? PodLinks.Gateway4 : PodLinks.Gateway6).ToString());
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteStartArray("routes");
        foreach (var address in attachment.Addresses)
        {
            var isIPv4 = address.AddressFamily == AddressFamily.InterNetwork;
            json.WriteStartObject();
            json.WriteString("dst", isIPv4 ? "0.0.0.0/0" : "::/0");
            json.WriteString("gw", (isIPv4 ? PodLinks.Gateway4 : PodLinks.Gateway6).ToString());
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteStartObject("dns");
        json.WriteEndObject();
        json.WriteEndObject();
    }

    /// <summary>An error (CNI specification, "Error").</summary>
    internal static void WriteError(IBufferWriter<byte> output, string cniVersion, CniException error)
    {
        using var json = new Utf8JsonWriter(output);
        json.WriteStartObject();
        json.WriteString("cniVersion", cniVersion);
        json.WriteNumber("code", error.Code);
        json.WriteString("msg", error.Message);
        if (error.Details.Length > 0) json.WriteString("details", error.Details);
        json.WriteEndObject();
    }

    private static void WriteInterface(Utf8JsonWriter json, string name, byte[] address, string? sandbox)
    {
        json.WriteStartObject();
        json.WriteString("name", name);
        json.WriteString("mac", string.Join(':', address.Select(b => b.ToString("x2"))));
        if (sandbox is not null) json.WriteString("sandbox", sandbox);
        json.WriteEndObject();
    }
}
