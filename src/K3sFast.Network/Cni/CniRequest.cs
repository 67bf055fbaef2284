using System.Buffers.Binary;
using System.Net;
using System.Text;
using System.Text.Json;

namespace K3sFast.Network.Cni;

/// <summary>What a pod asks to be reachable at on the node: <c>runtimeConfig.portMappings</c> of the CNI conventions.</summary>
/// <param name="Protocol">IP protocol number.</param>
/// <param name="HostIP">Address of the node; null = all of them.</param>
/// <param name="HostPort">Port on the node.</param>
/// <param name="ContainerPort">Port in the pod.</param>
internal sealed record PortMapping(byte Protocol, IPAddress? HostIP, ushort HostPort, ushort ContainerPort);

/// <summary>One CNI call as the plugin forwards it. Frame: <c>"K3SFCNI1" | u32 length | five NUL-ended texts | configuration JSON</c>.</summary>
internal sealed record CniRequest(string Command, string ContainerId, string NetworkNamespacePath, string InterfaceName, string Arguments)
{
    // A configuration is at most 1 MiB (the plugin refuses more), the environment 16 KiB.
    internal const int MaxBodyBytes = (1 << 20) + (1 << 14);
    internal const int HeaderBytes = 12;

    // The name of the network in our own configuration.
    internal const string DefaultNetwork = "k3sfast";

    /// <summary>The version that the answer must have the form of.</summary>
    internal string CniVersion { get; init; } = "1.0.0";

    /// <summary>The network that is spoken of.</summary>
    internal string NetworkName { get; init; } = DefaultNetwork;

    /// <summary>Host ports of the pod.</summary>
    internal IReadOnlyList<PortMapping> PortMappings { get; init; } = [];

    /// <summary>How fast the pod may be.</summary>
    internal PodBandwidth Bandwidth { get; init; }

    /// <summary>For GC: the attachments that the runtime knows; everything else of the network may go. Null = it did not say.</summary>
    internal IReadOnlySet<(string ContainerId, string InterfaceName)>? ValidAttachments { get; init; }

    /// <summary>Reads the header's length; throws when it is not one of ours.</summary>
    internal static int ReadHeader(ReadOnlySpan<byte> header)
    {
        if (!header.StartsWith("K3SFCNI1"u8)) throw new CniException(CniException.Decoding, "not a call of the k3sfast CNI plugin");
        var length = BinaryPrimitives.ReadUInt32LittleEndian(header[8..]);
        return length <= MaxBodyBytes ? (int)length : throw new CniException(CniException.Decoding, $"CNI call of {length} bytes is too long");
    }

    /// <summary>Reads a frame's body.</summary>
    internal static CniRequest Parse(ReadOnlyMemory<byte> body)
    {
        var rest = body.Span;
        var texts = new string[5];
        for (var i = 0; i < texts.Length; i++)
        {
            var end = rest.IndexOf((byte)0);
            if (end < 0) throw new CniException(CniException.Decoding, "truncated CNI call");
            texts[i] = Encoding.UTF8.GetString(rest[..end]);
            rest = rest[(end + 1)..];
        }
        var request = new CniRequest(texts[0], texts[1], texts[2], texts[3], texts[4]);
        try
        {
            using var document = JsonDocument.Parse(body[^rest.Length..]);
            var root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object) throw new FormatException("it is not an object");
            return request with
            {
                CniVersion = Text(root, "cniVersion") ?? "1.0.0",
                NetworkName = Text(root, "name") ?? DefaultNetwork,
                PortMappings = Ports(root),
                Bandwidth = BandwidthOf(root),
                ValidAttachments = Attachments(root),
            };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or OverflowException)
        {
            throw new CniException(CniException.Decoding, "the network configuration cannot be read", e.Message);
        }
    }

    /// <summary>Names go into file names and link hashes: what CNI allows, and nothing else.</summary>
    internal void CheckNames()
    {
        if (ContainerId.Length is 0 or > 200 || !IsAlphanumeric(ContainerId[0]) || ContainerId.Any(c => !IsAlphanumeric(c) && c is not ('_' or '.' or '-')))
        {
            throw new CniException(CniException.BadEnvironment, "CNI_CONTAINERID is missing or malformed", ContainerId);
        }
        if (InterfaceName.Length is 0 or > 15 || InterfaceName is "." or ".." || InterfaceName.Any(c => c is '/' or ':' || char.IsWhiteSpace(c)))
        {
            throw new CniException(CniException.BadEnvironment, "CNI_IFNAME is missing or malformed", InterfaceName);
        }
    }

    private static bool IsAlphanumeric(char c) => char.IsAsciiLetterOrDigit(c);

    private static List<PortMapping> Ports(JsonElement root)
    {
        var ports = new List<PortMapping>();
        if (!root.TryGetProperty("runtimeConfig", out var runtime) || runtime.ValueKind != JsonValueKind.Object
            || !runtime.TryGetProperty("portMappings", out var mappings) || mappings.ValueKind != JsonValueKind.Array)
        {
            return ports;
        }
        foreach (var mapping in mappings.EnumerateArray())
        {
            var hostPort = Member(mapping, "hostPort") is { ValueKind: JsonValueKind.Number } host ? host.GetInt32() : 0;
            // A container port without a host port is told as 0: nothing to do.
            if (hostPort == 0) continue;
            var containerPort = Member(mapping, "containerPort") is { ValueKind: JsonValueKind.Number } container ? container.GetInt32() : 0;
            if (hostPort is < 0 or > 65535 || containerPort is <= 0 or > 65535) throw new FormatException($"port mapping {hostPort}:{containerPort} is out of range");
            var hostIP = TextOf(mapping, "hostIP") is { Length: > 0 } text ? IPAddress.Parse(text) : null;
            if (hostIP is not null && (hostIP.Equals(IPAddress.Any) || hostIP.Equals(IPAddress.IPv6Any))) hostIP = null;
            ports.Add(new PortMapping(ProtocolOf(TextOf(mapping, "protocol")), hostIP, (ushort)hostPort, (ushort)containerPort));
        }
        return ports;
    }

    // runtimeConfig.bandwidth of the CNI conventions, in bits.
    private static PodBandwidth BandwidthOf(JsonElement root)
    {
        if (!root.TryGetProperty("runtimeConfig", out var runtime) || runtime.ValueKind != JsonValueKind.Object
            || Member(runtime, "bandwidth") is not { ValueKind: JsonValueKind.Object } bandwidth)
        {
            return default;
        }
        ulong Number(string name) => Member(bandwidth, name) is { ValueKind: JsonValueKind.Number } number ? number.GetUInt64() : 0;
        return new PodBandwidth(Number("ingressRate"), Number("ingressBurst"), Number("egressRate"), Number("egressBurst"));
    }

    private static HashSet<(string, string)>? Attachments(JsonElement root)
    {
        if (!root.TryGetProperty("cni.dev/valid-attachments", out var list) && !root.TryGetProperty("cni.dev/attachments", out list)) return null;
        if (list.ValueKind != JsonValueKind.Array) throw new FormatException("cni.dev/valid-attachments is not a list");
        var attachments = new HashSet<(string, string)>();
        foreach (var entry in list.EnumerateArray())
        {
            attachments.Add((Text(entry, "containerID") ?? throw new FormatException("an attachment without containerID"), Text(entry, "ifname") ?? throw new FormatException("an attachment without ifname")));
        }
        return attachments;
    }

    // containerd writes these members with a capital (HostPort), other runtimes as the conventions spell them; Go's readers take both.
    private static JsonElement? Member(JsonElement mapping, string name)
    {
        if (mapping.ValueKind != JsonValueKind.Object) throw new FormatException($"{name} is asked of what is no object");
        foreach (var member in mapping.EnumerateObject())
        {
            if (string.Equals(member.Name, name, StringComparison.OrdinalIgnoreCase)) return member.Value;
        }
        return null;
    }

    private static string? TextOf(JsonElement mapping, string name) => Member(mapping, name) is { ValueKind: JsonValueKind.String } text ? text.GetString() : null;

    private static byte ProtocolOf(string? name) => name?.ToUpperInvariant() switch
    {
        null or "" or "TCP" => 6,
        "UDP" => 17,
        "SCTP" => 132,
        _ => throw new FormatException($"unknown protocol {name}"),
    };

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}

/// <summary>A call that is refused, with the code that the CNI specification gives the reason.</summary>
internal sealed class CniException(int code, string message, string details = "") : Exception(message)
{
    internal const int UnknownContainer = 3, BadEnvironment = 4, Io = 5, Decoding = 6, BadConfiguration = 7, TryAgain = 11, NotAvailable = 50, Internal = 999;

    internal int Code { get; } = code;
    internal string Details { get; } = details;
}
