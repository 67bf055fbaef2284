using System.Globalization;
using System.Net;
using K3sFast.AddOns.Dns;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Benchmarks.Dns;

/// <summary>
/// The cluster's DNS alone on real sockets, until the standard input ends: for dnsperf, beside other servers. Writes the queries to ask, and the
/// same zone as a zone file, so that a peer can answer them too. bench/dns.sh drives it.
/// </summary>
internal static class DnsUnderLoad
{
    internal static int Run(string[] arguments)
    {
        string Value(string name, string otherwise) => Array.IndexOf(arguments, name) is var at and >= 0 ? arguments[at + 1] : otherwise;
        var (port, services, threads) = (Number("--port", "10053"), Number("--services", "10000"), Number("--threads", "1"));
        var parts = DnsRecords.Parts(services);
        var engine = DnsRecords.Engine(parts);
        var endpoint = new IPEndPoint(IPAddress.Loopback, port);
        using var udp = new UdpListener(endpoint, 53, threads, engine, parts.Metrics, NullLogger.Instance);
        using var tcp = new TcpListener(endpoint, 53, engine, parts.Metrics, NullLogger.Instance);
        udp.Start();
        tcp.Start();
        if (Value("--queries", "") is { Length: > 0 } queries) WriteQueries(queries, services);
        if (Value("--zone", "") is { Length: > 0 } zone) WriteZone(zone, services);
        Console.WriteLine($"ready: {services} services at {endpoint}, {threads} threads, {parts.Records.SizeBytes} bytes of records");
        while (Console.In.ReadLine() is not null)
        {
        }
        return 0;

        int Number(string name, string otherwise) => int.Parse(Value(name, otherwise), CultureInfo.InvariantCulture);
    }

    // What pods ask: mostly addresses of services, of both families, some names that are not there.
    private static void WriteQueries(string path, int services)
    {
        var random = new Random(7);
        using var file = File.CreateText(path);
        for (var i = 0; i < 100_000; i++)
        {
            var service = random.Next(services);
            file.WriteLine((i % 10) switch
            {
                < 6 => $"service-{service}.default.svc.cluster.local A",
                < 8 => $"service-{service}.default.svc.cluster.local AAAA",
                8 => $"nobody-{service}.default.svc.cluster.local A",
                _ => $"_http._tcp.service-{service}.default.svc.cluster.local SRV",
            });
        }
    }

    private static void WriteZone(string path, int services)
    {
        using var file = File.CreateText(path);
        file.WriteLine("$TTL 5\n@ IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5\n@ IN NS ns.dns.cluster.local.\nns.dns IN A 10.43.0.10");
        for (var i = 0; i < services; i++)
        {
            file.WriteLine($"service-{i}.default.svc IN A 10.43.{i >> 8}.{i & 255}");
            file.WriteLine($"_http._tcp.service-{i}.default.svc IN SRV 0 100 80 service-{i}.default.svc.cluster.local.");
        }
    }
}
