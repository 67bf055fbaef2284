using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace K3sFast.LoadTest;

/// <summary>
/// How soon names follow: an endpoint turns ready in its slice, or a pod in its status, and the cluster's DNS is asked until it answers with its
/// address. The clock starts when the API acknowledges the write. The node's address must be reachable from here.
/// </summary>
internal static class DnsScenario
{
    private const int MostChanges = 1_000;
    private const string Slices = $"/apis/discovery.k8s.io/v1/namespaces/{Objects.Namespace}/endpointslices";
    private const string Services = $"/api/v1/namespaces/{Objects.Namespace}/services";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    internal static async Task RunAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        using var probe = new Probe(await FindAsync(api));
        await FollowSliceAsync(api, report, options, probe);
        await FollowPodAsync(api, report, options, probe);
    }

    private static async Task FollowSliceAsync(ApiConnection api, Report report, LoadOptions options, Probe probe)
    {
        const string Name = "dns-slice";
        string Slice(bool isReady) => $$$"""
            {"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"{{{Name}}}","labels":{"kubernetes.io/service-name":"{{{Name}}}"}},
            "addressType":"IPv4","ports":[{"name":"http","port":80}],"endpoints":[{"addresses":["10.42.250.1"],"conditions":{"ready":{{{(isReady ? "true" : "false")}}}}}]}
            """;
        await PostAsync(api, Services, $$$"""{"apiVersion":"v1","kind":"Service","metadata":{"name":"{{{Name}}}"},"spec":{"clusterIP":"None","ports":[{"name":"http","port":80}]}}""");
        await PostAsync(api, Slices, Slice(isReady: false));
        await MeasureAsync("endpoint ready in its slice", report, options, probe, $"{Name}.{Objects.Namespace}.svc.cluster.local", isReady =>
            PatchAsync(api, $"{Slices}/{Name}", $$$"""{"endpoints":[{"addresses":["10.42.250.1"],"conditions":{"ready":{{{(isReady ? "true" : "false")}}}}}]}"""));
        await api.SendAsync(HttpMethod.Delete, $"{Slices}/{Name}");
        await api.SendAsync(HttpMethod.Delete, $"{Services}/{Name}");
    }

    // With the controller of slices on the way, and its write.
    private static async Task FollowPodAsync(ApiConnection api, Report report, LoadOptions options, Probe probe)
    {
        const string Name = "dns-pod", Node = "dns-node";
        // A node that is new: nobody misses its heartbeat while this lasts.
        await PostAsync(api, "/api/v1/nodes", $$$"""{"apiVersion":"v1","kind":"Node","metadata":{"name":"{{{Node}}}"}}""");
        await PostAsync(api, Services, $$$"""
            {"apiVersion":"v1","kind":"Service","metadata":{"name":"{{{Name}}}"},"spec":{"clusterIP":"None","selector":{"app":"{{{Name}}}"},"ports":[{"name":"http","port":80}]}}
            """);
        await PostAsync(api, Objects.Pods, $$$"""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{Name}}}","labels":{"app":"{{{Name}}}"}},
            "spec":{"nodeName":"{{{Node}}}","automountServiceAccountToken":false,"containers":[{"name":"c","image":"none"}]}}
            """);
        await MeasureAsync("pod Ready in its status", report, options, probe, $"{Name}.{Objects.Namespace}.svc.cluster.local", isReady => PatchAsync(api, $"{Objects.Pods}/{Name}/status", $$$"""
            {"status":{"phase":"Running","podIP":"10.42.250.2","podIPs":[{"ip":"10.42.250.2"}],"conditions":[{"type":"Ready","status":"{{{(isReady ? "True" : "False")}}}"}]}}
            """));
        await api.SendAsync(HttpMethod.Delete, $"{Objects.Pods}/{Name}?gracePeriodSeconds=0");
        await api.SendAsync(HttpMethod.Delete, $"{Services}/{Name}");
        await api.SendAsync(HttpMethod.Delete, $"/api/v1/nodes/{Node}");
    }

    private static async Task MeasureAsync(string what, Report report, LoadOptions options, Probe probe, string name, Func<bool, Task> change)
    {
        var query = Probe.Query(name);
        for (var i = 0; i < 10; i++)
        {
            await change(true);
            if (!Until(probe, query, isThere: true) || !await GoneAsync()) throw new InvalidOperationException($"{name} did not follow within {s_patience.TotalSeconds} s");
        }
        var latencies = new List<double>();
        var before = report.Server();
        var clock = Stopwatch.StartNew();
        var limit = TimeSpan.FromSeconds(options.Seconds);
        while (clock.Elapsed < limit && latencies.Count < options.Scaled(MostChanges))
        {
            await change(true);
            var acknowledged = Stopwatch.GetTimestamp();
            if (!Until(probe, query, isThere: true))
            {
                report.Fail($"{name} did not follow within {s_patience.TotalSeconds} s");
                return;
            }
            latencies.Add(Report.Since(acknowledged));
            await GoneAsync();
        }
        report.Add($"{what}, acknowledged until DNS answers with it", latencies.Count, clock.Elapsed, latencies, report.Server().CpuSeconds - before.CpuSeconds);

        async Task<bool> GoneAsync()
        {
            await change(false);
            return Until(probe, query, isThere: false);
        }
    }

    private static bool Until(Probe probe, byte[] query, bool isThere)
    {
        for (var start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < s_patience;)
        {
            if (probe.HasAnswer(query) == isThere) return true;
        }
        return false;
    }

    // Where the DNS is, by its Service's slice. A server without pods of its own serves names only since there is a node.
    private static async Task<IPEndPoint> FindAsync(ApiConnection api)
    {
        for (var start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < s_patience; await Task.Delay(100))
        {
            using var slices = JsonDocument.Parse(await api.SendAsync(
                HttpMethod.Get, "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkube-dns"));
            foreach (var slice in slices.RootElement.GetProperty("items").EnumerateArray())
            {
                if (slice.GetProperty("endpoints").GetArrayLength() == 0) continue;
                var port = slice.GetProperty("ports").EnumerateArray().First(static port => port.GetProperty("protocol").ValueEquals("UDP")).GetProperty("port").GetInt32();
                return new IPEndPoint(IPAddress.Parse(slice.GetProperty("endpoints")[0].GetProperty("addresses")[0].GetString()!), port);
            }
        }
        throw new InvalidOperationException("Service kube-system/kube-dns has no endpoint");
    }

    private static Task PostAsync(ApiConnection api, string path, string body) => api.SendAsync(HttpMethod.Post, path, Encoding.UTF8.GetBytes(body));

    private static Task PatchAsync(ApiConnection api, string path, string body) =>
        api.SendAsync(HttpMethod.Patch, path, Encoding.UTF8.GetBytes(body), "application/merge-patch+json");

    /// <summary>One question at a time.</summary>
    private sealed class Probe : IDisposable
    {
        private readonly Socket _socket;
        private readonly byte[] _answer = new byte[1232];
        private ushort _id;

        internal Probe(IPEndPoint server)
        {
            _socket = new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { ReceiveTimeout = 1000 };
            _socket.Connect(server);
        }

        internal static byte[] Query(string name)
        {
            List<byte> query = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            foreach (var label in name.Split('.')) query.AddRange([(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]);
            query.AddRange([0, 0, 1, 0, 1]);
            return [.. query];
        }

        /// <summary>True when the answer has a record; a lost one has none.</summary>
        internal bool HasAnswer(byte[] query)
        {
            BinaryPrimitives.WriteUInt16BigEndian(query, ++_id);
            _socket.Send(query);
            while (true)
            {
                var size = _socket.Receive(_answer, SocketFlags.None, out var error);
                if (error != SocketError.Success) return false;
                if (size >= 12 && BinaryPrimitives.ReadUInt16BigEndian(_answer) == _id) return BinaryPrimitives.ReadUInt16BigEndian(_answer.AsSpan(6)) > 0;
            }
        }

        public void Dispose() => _socket.Dispose();
    }
}
