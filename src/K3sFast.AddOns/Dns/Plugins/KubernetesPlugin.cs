using K3sFast.Client.Selection;

namespace K3sFast.AddOns.Dns;

/// <summary>How names of pods are answered (the plugin's "pods" option).</summary>
internal enum PodMode
{
    Disabled,
    Insecure,
    Verified,
}

/// <summary>What a Corefile's kubernetes plugin says.</summary>
internal sealed record KubernetesOptions
{
    internal required ZoneSet Zones { get; init; }

    /// <summary>The first zone that is no reverse zone: what PTR records lead to.</summary>
    internal required byte[] PrimaryZone { get; init; }

    internal PodMode Pods { get; init; }

    // CoreDNS' own default; its SOA lets a negative answer live as long.
    internal uint TtlSeconds { get; init; } = 5;

    internal FallThrough FallThrough { get; init; } = FallThrough.Never;

    /// <summary>Namespaces that are shown (labels with length byte); null = all.</summary>
    internal List<byte[]>? Namespaces { get; init; }

    internal LabelMatcher? NamespaceLabels { get; init; }

    internal LabelMatcher? Labels { get; init; }

    internal bool HasNoEndpoints { get; init; }

    internal bool IgnoresEmptyServices { get; init; }

    /// <summary>Cluster addresses of the DNS service, which the zone's NS record leads to: 4 or 16 bytes each.</summary>
    internal byte[][] NameServers { get; init; } = [];
}

/// <summary>
/// The cluster's own names: everything that the Kubernetes DNS specification (1.1.0) gives to services, headless endpoints and pods.
/// An answer allocates nothing.
/// </summary>
internal sealed partial class KubernetesPlugin(KubernetesOptions options, ClusterRecords records) : Plugin
{
    private enum Outcome
    {
        NoName,
        Found,
        Alias,
    }

    internal override string Name => "kubernetes";

    internal override Step Handle(Exchange exchange)
    {
        if (exchange.Class != 1 || options.Zones.Match(exchange.Name) is not { } zone) return Step.Next;
        if (exchange.Type is DnsType.Axfr or DnsType.Ixfr)
        {
            exchange.Fail(DnsCode.Refused);
            return Step.Answered;
        }
        exchange.IsAuthoritative = true;
        var answersBefore = exchange.Answers;
        var outcome = IsReverse(zone) ? AnswerReverse(exchange) : AnswerForward(exchange, zone);
        if (outcome == Outcome.Alias) return Step.Again;
        if (outcome == Outcome.NoName)
        {
            if (options.FallThrough.Includes(exchange.Name))
            {
                exchange.IsAuthoritative = false;
                return Step.Next;
            }
            // What is not known yet must not be denied.
            exchange.Code = records.HasSynced ? DnsCode.NameError : DnsCode.ServerFailure;
        }
        if (exchange.Answers == answersBefore && !exchange.IsTruncated && exchange.Code != DnsCode.ServerFailure) WriteSoa(exchange, zone, isAnswer: false);
        return Step.Answered;
    }

    private static bool IsReverse(ReadOnlySpan<byte> zone) => zone.EndsWith("\u0007in-addr\u0004arpa\0"u8) || zone.EndsWith("\u0003ip6\u0004arpa\0"u8);

    // Labels below the zone, from the right: "svc" or "pod", namespace, service, then endpoint or _protocol and _port.
    private Outcome AnswerForward(Exchange exchange, byte[] zone)
    {
        var rest = exchange.Name[..(exchange.Name.Length - zone.Length)];
        if (rest.IsEmpty) return AnswerApex(exchange, zone);
        Span<int> starts = stackalloc int[6];
        var count = 0;
        for (var at = 0; at < rest.Length; at += rest[at] + 1)
        {
            if (count == starts.Length) return Outcome.NoName;
            starts[count++] = at;
        }
        var last = rest[starts[count - 1]..];
        if (count == 1 && last.SequenceEqual("\u000bdns-version"u8))
        {
            if (exchange.Type == DnsType.Txt) exchange.Add(DnsType.Txt, options.TtlSeconds, "\u00051.1.0"u8);
            return Outcome.Found;
        }
        if (count == 2 && rest.SequenceEqual("\u0002ns\u0003dns"u8)) return AnswerNameServer(exchange);
        var isPod = last.SequenceEqual("\u0003pod"u8);
        if (!isPod && !last.SequenceEqual("\u0003svc"u8)) return Outcome.NoName;
        if (count == 1) return isPod && options.Pods == PodMode.Disabled ? Outcome.NoName : Outcome.Found;

        var inNamespace = rest[starts[count - 2]..starts[count - 1]];
        if (!Shows(inNamespace)) return Outcome.NoName;
        if (isPod) return count > 3 ? Outcome.NoName : AnswerPod(exchange, count == 3 ? rest[1..starts[1]] : default, inNamespace);
        if (count == 2) return Outcome.Found;
        if (records.Service(rest[starts[count - 3]..starts[count - 1]]) is not { } service || IsHidden(service)) return Outcome.NoName;
        if (count == 3) return AnswerService(exchange, service, zone);
        // Only names of the service itself lead to somewhere else.
        if (service.ExternalName is not null) return Outcome.NoName;
        if (count == 4) return options.HasNoEndpoints ? Outcome.NoName : AnswerEndpoint(exchange, service, rest[1..starts[1]], zone);
        var port = rest[1..starts[1]];
        var protocol = rest[(starts[1] + 1)..starts[2]];
        if (count != 5 || port.Length < 2 || port[0] != '_' || protocol.Length < 2 || protocol[0] != '_') return Outcome.NoName;
        return AnswerPort(exchange, service, port[1..], protocol[1..], zone);
    }

    private Outcome AnswerApex(Exchange exchange, byte[] zone)
    {
        if (exchange.Type == DnsType.Soa) WriteSoa(exchange, zone, isAnswer: true);
        else if (exchange.Type == DnsType.NS)
        {
            Span<byte> name = stackalloc byte[DnsMessage.MaxNameSize];
            var size = Join("\u0002ns\u0003dns"u8, zone, name);
            if (size == 0) return Outcome.Found;
            exchange.Add(DnsType.NS, options.TtlSeconds, name[..size]);
            foreach (var address in options.NameServers) exchange.AddAdditional(name[..size], TypeOf(address), options.TtlSeconds, address);
        }
        return Outcome.Found;
    }

    private Outcome AnswerNameServer(Exchange exchange)
    {
        foreach (var address in options.NameServers)
        {
            if (TypeOf(address) == exchange.Type) exchange.Add(exchange.Type, options.TtlSeconds, address);
        }
        return Outcome.Found;
    }

    // The address is in the name. Whether a pod has it is looked at in mode "verified" only.
    private Outcome AnswerPod(Exchange exchange, ReadOnlySpan<byte> label, ReadOnlySpan<byte> inNamespace)
    {
        if (options.Pods == PodMode.Disabled) return Outcome.NoName;
        if (label.IsEmpty) return Outcome.Found;
        Span<byte> address = stackalloc byte[16];
        if (!DashedAddress.TryParse(label, address, out var size)) return Outcome.NoName;
        address = address[..size];
        if (options.Pods == PodMode.Verified && !records.HasPod(AddressKey.Of(address), inNamespace)) return Outcome.NoName;
        if (TypeOf(address) == exchange.Type) exchange.Add(exchange.Type, options.TtlSeconds, address);
        return Outcome.Found;
    }

    private Outcome AnswerReverse(Exchange exchange)
    {
        if (!AddressKey.TryParseReverse(exchange.Name, out var address)) return Outcome.NoName;
        var isPtr = exchange.Type == DnsType.Ptr;
        Span<byte> name = stackalloc byte[DnsMessage.MaxNameSize];
        var outcome = Outcome.NoName;
        var services = records.ServicesAt(address);
        for (var i = 0; i < services.Count; i++)
        {
            if (!IsShown(services[i]) || ServiceName(services[i], options.PrimaryZone, name) is not (> 0 and var size)) continue;
            if (isPtr) exchange.Add(DnsType.Ptr, options.TtlSeconds, name[..size]);
            return Outcome.Found;
        }
        if (options.HasNoEndpoints) return outcome;
        Span<byte> bytes = stackalloc byte[16];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(bytes, address.High);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], address.Low);
        if (address.IsV4) bytes = bytes[12..];
        var owners = records.EndpointsAt(address);
        for (var i = 0; i < owners.Count; i++)
        {
            var service = owners[i];
            var index = service.Endpoints.IndexOf(bytes);
            if (index < 0 || !IsShown(service) || EndpointName(service, index, options.PrimaryZone, name) is not (> 0 and var size)) continue;
            if (isPtr) exchange.Add(DnsType.Ptr, options.TtlSeconds, name[..size]);
            outcome = Outcome.Found;
        }
        return outcome;
    }

    // A service whose last ready endpoint is gone, where that is to look like no service.
    private bool IsHidden(ServiceRecords service) =>
        (options.Labels is { } labels && !labels.Matches(service.Labels))
        || (options.IgnoresEmptyServices && service.ExternalName is null && !service.IsHeadless && service.Endpoints.Count == 0);

    private bool IsShown(ServiceRecords service) => !IsHidden(service) && Shows(service.Name.AsSpan(service.Name[0] + 1));

    private bool Shows(ReadOnlySpan<byte> inNamespace)
    {
        if (records.Namespace(inNamespace) is not { } found) return false;
        if (options.NamespaceLabels is { } labels && !labels.Matches(found.Labels)) return false;
        if (options.Namespaces is not { } shown) return true;
        foreach (var label in shown)
        {
            if (inNamespace.SequenceEqual(label)) return true;
        }
        return false;
    }

    private static DnsType TypeOf(ReadOnlySpan<byte> address) => address.Length == 4 ? DnsType.A : DnsType.Aaaa;

    private static int Join(ReadOnlySpan<byte> labels, ReadOnlySpan<byte> zone, Span<byte> name)
    {
        if (labels.Length + zone.Length > name.Length) return 0;
        labels.CopyTo(name);
        zone.CopyTo(name[labels.Length..]);
        return labels.Length + zone.Length;
    }

    // service.namespace.svc.zone; 0 where that is longer than a name may be.
    private static int ServiceName(ServiceRecords service, ReadOnlySpan<byte> zone, Span<byte> name)
    {
        var labels = service.Name.Length;
        if (labels + 4 + zone.Length > name.Length) return 0;
        service.Name.CopyTo(name);
        "\u0003svc"u8.CopyTo(name[labels..]);
        zone.CopyTo(name[(labels + 4)..]);
        return labels + 4 + zone.Length;
    }

    // endpoint.service.namespace.svc.zone
    private static int EndpointName(ServiceRecords service, int index, ReadOnlySpan<byte> zone, Span<byte> name)
    {
        Span<byte> label = stackalloc byte[64];
        var size = service.Endpoints.WriteHost(index, label[1..]);
        label[0] = (byte)size;
        var rest = ServiceName(service, zone, name[(size + 1)..]);
        if (rest == 0) return 0;
        label[..(size + 1)].CopyTo(name);
        return size + 1 + rest;
    }

    // SOA data: MNAME, RNAME, serial, refresh, retry, expire, minimum (RFC 1035 §3.3.13); names and intervals are CoreDNS'.
    private void WriteSoa(Exchange exchange, ReadOnlySpan<byte> zone, bool isAnswer)
    {
        Span<byte> data = stackalloc byte[512];
        "\u0002ns\u0003dns"u8.CopyTo(data);
        zone.CopyTo(data[7..]);
        var at = 7 + zone.Length;
        "\u000ahostmaster"u8.CopyTo(data[at..]);
        zone.CopyTo(data[(at + 11)..]);
        at += 11 + zone.Length;
        DnsMessage.U32(data[at..], records.Serial);
        DnsMessage.U32(data[(at + 4)..], 7200);
        DnsMessage.U32(data[(at + 8)..], 1800);
        DnsMessage.U32(data[(at + 12)..], 86400);
        DnsMessage.U32(data[(at + 16)..], options.TtlSeconds);
        if (isAnswer) exchange.Add(DnsType.Soa, options.TtlSeconds, data[..(at + 20)]);
        else exchange.AddAuthority(zone, DnsType.Soa, options.TtlSeconds, data[..(at + 20)]);
    }
}
