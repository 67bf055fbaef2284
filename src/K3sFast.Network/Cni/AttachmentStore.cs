using System.Net;
using System.Text.Json;

namespace K3sFast.Network.Cni;

/// <summary>
/// The attachments of this node, kept across restarts: one small file each. A file appears whole or not at all; there is no reboot to survive,
/// so nothing is flushed.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class AttachmentStore
{
    private const string Extension = ".json";

    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly Dictionary<(string, string), PodAttachment> _attachments = [];
    private readonly string _directory;

    /// <summary>Opens the folder and reads what is there; files that cannot be read are named in <paramref name="broken"/> and removed.</summary>
    internal AttachmentStore(string directory, List<string> broken)
    {
        _directory = directory;
        Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        foreach (var path in Directory.EnumerateFiles(directory))
        {
            try
            {
                if (!path.EndsWith(Extension, StringComparison.Ordinal)) throw new FormatException("left over");
                var attachment = Read(File.ReadAllBytes(path));
                _attachments[(attachment.ContainerId, attachment.InterfaceName)] = attachment;
            }
            catch (Exception e) when (e is JsonException or FormatException or KeyNotFoundException or InvalidOperationException or IndexOutOfRangeException)
            {
                broken.Add(path);
                File.Delete(path);
            }
        }
    }

    /// <summary>The attachment; null = unknown.</summary>
    internal PodAttachment? Find(string containerId, string interfaceName)
    {
        lock (_gate) return _attachments.GetValueOrDefault((containerId, interfaceName));
    }

    /// <summary>A copy of all.</summary>
    internal List<PodAttachment> List()
    {
        lock (_gate) return [.. _attachments.Values];
    }

    /// <summary>Remembers an attachment.</summary>
    /// <exception cref="IOException">The folder cannot be written; nothing is remembered.</exception>
    internal void Put(PodAttachment attachment)
    {
        lock (_gate)
        {
            var path = PathOf(attachment.ContainerId, attachment.InterfaceName);
            File.WriteAllBytes(path + ".new", Write(attachment));
            File.Move(path + ".new", path, overwrite: true);
            _attachments[(attachment.ContainerId, attachment.InterfaceName)] = attachment;
        }
    }

    /// <summary>Forgets an attachment.</summary>
    internal void Remove(string containerId, string interfaceName)
    {
        lock (_gate)
        {
            File.Delete(PathOf(containerId, interfaceName));
            _attachments.Remove((containerId, interfaceName));
        }
    }

    private string PathOf(string containerId, string interfaceName) => Path.Combine(_directory, $"{containerId}@{interfaceName}{Extension}");

    private static byte[] Write(PodAttachment attachment)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteString("containerId", attachment.ContainerId);
            json.WriteString("interface", attachment.InterfaceName);
            json.WriteStartArray("addresses");
            foreach (var address in attachment.Addresses) json.WriteStringValue(address.ToString());
            json.WriteEndArray();
            json.WriteStartArray("ports");
            foreach (var port in attachment.PortMappings)
            {
                json.WriteStartObject();
                json.WriteNumber("protocol", port.Protocol);
                if (port.HostIP is not null) json.WriteString("hostIP", port.HostIP.ToString());
                json.WriteNumber("hostPort", port.HostPort);
                json.WriteNumber("containerPort", port.ContainerPort);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteString("network", attachment.NetworkName);
            if (attachment.Bandwidth is { IsLimited: true } bandwidth)
            {
                json.WriteStartArray("bandwidth");
                foreach (var number in (ReadOnlySpan<ulong>)[bandwidth.IngressRate, bandwidth.IngressBurst, bandwidth.EgressRate, bandwidth.EgressBurst]) json.WriteNumberValue(number);
                json.WriteEndArray();
            }
            json.WriteEndObject();
        }
        return stream.ToArray();
    }

    private static PodAttachment Read(byte[] bytes)
    {
        using var document = JsonDocument.Parse(bytes);
        var root = document.RootElement;
        var addresses = root.GetProperty("addresses").EnumerateArray().Select(address => IPAddress.Parse(address.GetString()!)).ToArray();
        if (addresses.Length == 0) throw new FormatException("an attachment without an address");
        var ports = root.GetProperty("ports").EnumerateArray().Select(port => new PortMapping(
            port.GetProperty("protocol").GetByte(),
            port.TryGetProperty("hostIP", out var ip) ? IPAddress.Parse(ip.GetString()!) : null,
            port.GetProperty("hostPort").GetUInt16(),
            port.GetProperty("containerPort").GetUInt16())).ToArray();
        return new PodAttachment(root.GetProperty("containerId").GetString()!, root.GetProperty("interface").GetString()!, addresses, ports)
        {
            // Files of earlier versions know neither.
            NetworkName = root.TryGetProperty("network", out var network) ? network.GetString()! : CniRequest.DefaultNetwork,
            Bandwidth = root.TryGetProperty("bandwidth", out var rates) ? new PodBandwidth(rates[0].GetUInt64(), rates[1].GetUInt64(), rates[2].GetUInt64(), rates[3].GetUInt64()) : default,
        };
    }
}
