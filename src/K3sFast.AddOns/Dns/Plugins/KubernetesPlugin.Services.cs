namespace K3sFast.AddOns.Dns;

// Records of services and their endpoints.
internal sealed partial class KubernetesPlugin
{
    private static int s_turn;

    private Outcome AnswerService(Exchange exchange, ServiceRecords service, byte[] zone)
    {
        if (service.ExternalName is { } target)
        {
            if (exchange.Type is not (DnsType.A or DnsType.Aaaa or DnsType.Cname)) return Outcome.Found;
            exchange.Add(DnsType.Cname, options.TtlSeconds, target);
            return exchange.Type != DnsType.Cname && exchange.TryFollow(target) ? Outcome.Alias : Outcome.Found;
        }
        if (!service.IsHeadless)
        {
            if (exchange.Type == DnsType.Srv) WriteServicePorts(exchange, service, default, default, zone);
            else WriteAddresses(exchange, service.Addresses4, service.Addresses6);
            return Outcome.Found;
        }
        // A headless service without a ready endpoint has no name: a client's search goes on, as with CoreDNS.
        var endpoints = service.Endpoints;
        if (endpoints.Count == 0 || options.HasNoEndpoints) return Outcome.NoName;
        if (exchange.Type == DnsType.Srv) WriteEndpointPorts(exchange, service, default, default, zone);
        else WriteAddresses(exchange, endpoints.Addresses4, endpoints.Addresses6);
        return Outcome.Found;
    }

    private Outcome AnswerEndpoint(Exchange exchange, ServiceRecords service, ReadOnlySpan<byte> host, byte[] zone)
    {
        var endpoints = service.Endpoints;
        var found = endpoints.Find(host, out var first);
        if (found == 0) return Outcome.NoName;
        for (var i = 0; i < Math.Abs(found); i++)
        {
            var index = found < 0 ? first : endpoints.Named(first + i);
            var address = endpoints.Address(index);
            if (exchange.Type == DnsType.Srv) WriteSrvOfEndpoint(exchange, service, index, default, default, Math.Abs(found), zone);
            else if (TypeOf(address) == exchange.Type) exchange.Add(exchange.Type, options.TtlSeconds, address);
        }
        return Outcome.Found;
    }

    private Outcome AnswerPort(Exchange exchange, ServiceRecords service, ReadOnlySpan<byte> port, ReadOnlySpan<byte> protocol, byte[] zone)
    {
        if (service.IsHeadless)
        {
            if (options.HasNoEndpoints || CountEndpointPorts(service, port, protocol) == 0) return Outcome.NoName;
            if (exchange.Type == DnsType.Srv) WriteEndpointPorts(exchange, service, port, protocol, zone);
            else if (exchange.Type is DnsType.A or DnsType.Aaaa) WriteAddresses(exchange, service.Endpoints.Addresses4, service.Endpoints.Addresses6);
            return Outcome.Found;
        }
        if (CountPorts(service.Ports, port, protocol) == 0) return Outcome.NoName;
        if (exchange.Type == DnsType.Srv) WriteServicePorts(exchange, service, port, protocol, zone);
        else WriteAddresses(exchange, service.Addresses4, service.Addresses6);
        return Outcome.Found;
    }

    // Clients take the first address: where the configuration says so (loadbalance), each answer begins one further.
    private void WriteAddresses(Exchange exchange, ReadOnlySpan<byte> addresses4, ReadOnlySpan<byte> addresses6)
    {
        if (exchange.Type is not (DnsType.A or DnsType.Aaaa)) return;
        var size = exchange.Type == DnsType.A ? 4 : 16;
        var addresses = size == 4 ? addresses4 : addresses6;
        var count = addresses.Length / size;
        var at = count > 1 && exchange.TakesTurns ? (int)((uint)Interlocked.Increment(ref s_turn) % (uint)count) : 0;
        for (var i = 0; i < count && !exchange.IsTruncated; i++)
        {
            exchange.Add(exchange.Type, options.TtlSeconds, addresses.Slice(at * size, size));
            if (++at == count) at = 0;
        }
    }

    private void WriteServicePorts(Exchange exchange, ServiceRecords service, ReadOnlySpan<byte> port, ReadOnlySpan<byte> protocol, byte[] zone)
    {
        Span<byte> target = stackalloc byte[DnsMessage.MaxNameSize];
        var size = ServiceName(service, zone, target);
        if (size == 0) return;
        // Each address counts (CoreDNS shares the weight of 100 among them), though a port is told once.
        var share = CountPorts(service.Ports, port, protocol) * Math.Max(1, service.Addresses4.Length / 4 + service.Addresses6.Length / 16);
        foreach (var record in service.Ports)
        {
            if (Matches(record, port, protocol)) WriteSrv(exchange, record.Number, share, target[..size]);
        }
        WriteAdditional(exchange, target[..size], service.Addresses4, service.Addresses6);
    }

    private void WriteEndpointPorts(Exchange exchange, ServiceRecords service, ReadOnlySpan<byte> port, ReadOnlySpan<byte> protocol, byte[] zone)
    {
        var share = CountEndpointPorts(service, port, protocol);
        for (var i = 0; i < service.Endpoints.Count && !exchange.IsTruncated; i++) WriteSrvOfEndpoint(exchange, service, i, port, protocol, share, zone);
        Span<byte> target = stackalloc byte[DnsMessage.MaxNameSize];
        for (var i = 0; i < service.Endpoints.Count && !exchange.IsTruncated; i++)
        {
            if (CountPorts(service.Endpoints.Ports(i), port, protocol) == 0) continue;
            var size = EndpointName(service, i, zone, target);
            if (size > 0) exchange.AddAdditional(target[..size], TypeOf(service.Endpoints.Address(i)), options.TtlSeconds, service.Endpoints.Address(i));
        }
    }

    private void WriteSrvOfEndpoint(
        Exchange exchange, ServiceRecords service, int index, ReadOnlySpan<byte> port, ReadOnlySpan<byte> protocol, int share, byte[] zone)
    {
        Span<byte> target = stackalloc byte[DnsMessage.MaxNameSize];
        if (!service.Endpoints.IsFirstOfName(index) || EndpointName(service, index, zone, target) is not (> 0 and var size)) return;
        foreach (var record in service.Endpoints.Ports(index))
        {
            if (Matches(record, port, protocol)) WriteSrv(exchange, record.Number, share, target[..size]);
        }
    }

    // SRV data: priority, weight, port, target (RFC 2782).
    private void WriteSrv(Exchange exchange, ushort port, int share, ReadOnlySpan<byte> target)
    {
        Span<byte> data = stackalloc byte[6 + DnsMessage.MaxNameSize];
        DnsMessage.U16(data, 0);
        DnsMessage.U16(data[2..], Math.Max(1, 100 / Math.Max(1, share)));
        DnsMessage.U16(data[4..], port);
        target.CopyTo(data[6..]);
        exchange.Add(DnsType.Srv, options.TtlSeconds, data[..(6 + target.Length)]);
    }

    private void WriteAdditional(Exchange exchange, ReadOnlySpan<byte> owner, ReadOnlySpan<byte> addresses4, ReadOnlySpan<byte> addresses6)
    {
        for (var i = 0; i < addresses4.Length; i += 4) exchange.AddAdditional(owner, DnsType.A, options.TtlSeconds, addresses4.Slice(i, 4));
        for (var i = 0; i < addresses6.Length; i += 16) exchange.AddAdditional(owner, DnsType.Aaaa, options.TtlSeconds, addresses6.Slice(i, 16));
    }

    private static int CountEndpointPorts(ServiceRecords service, ReadOnlySpan<byte> port, ReadOnlySpan<byte> protocol)
    {
        var count = 0;
        for (var i = 0; i < service.Endpoints.Count; i++)
        {
            if (service.Endpoints.IsFirstOfName(i)) count += CountPorts(service.Endpoints.Ports(i), port, protocol);
        }
        return count;
    }

    private static int CountPorts(PortRecord[] ports, ReadOnlySpan<byte> port, ReadOnlySpan<byte> protocol)
    {
        var count = 0;
        foreach (var record in ports)
        {
            if (Matches(record, port, protocol)) count++;
        }
        return count;
    }

    private static bool Matches(PortRecord record, ReadOnlySpan<byte> port, ReadOnlySpan<byte> protocol) =>
        (port.IsEmpty && protocol.IsEmpty) || (port.SequenceEqual(record.Name) && protocol.SequenceEqual(record.Protocol));
}
