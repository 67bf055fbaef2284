using System.Diagnostics;

namespace K3sFast.LoadTest;

/// <summary>Reads: one object, and long lists.</summary>
internal static class ReadScenarios
{
    private const int ListedPods = 2_000;
    private const int ManyPods = 50_000;
    private const int Listers = 10;
    private const int StreamsPerConnection = 100;

    internal static async Task GetAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap("one"));
        foreach (var clients in (int[])[1, 64])
        {
            await Load.RunAsync("get ConfigMap 0.6 KB", clients, options.Scaled(200_000), options, report, _ => api.SendAsync(HttpMethod.Get, Objects.ConfigMaps + "/one"));
        }
    }

    /// <summary>Reads at a steady rate, each asked for when it is due and over the next of some connections, whatever the answers take.</summary>
    internal static async Task SteadyAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap("one"));
        var rate = options.Scaled(5_000);
        var count = rate * options.Seconds;
        // Warm first: both sides' code.
        await ReadAtRateAsync(api, rate, Math.Min(rate, rate * options.Seconds), options);
        var allocated = await Metrics.AllocatedBytesAsync(api);
        var before = report.Server();
        var (latencies, took) = await ReadAtRateAsync(api, rate, count, options);
        if (latencies.Count < count) report.Fail($"get: {latencies.Count} of {count} were answered in three times their time");
        var name = $"get ConfigMap 0.6 KB at {rate}/s";
        report.Add(name, latencies.Count, took, [.. latencies.Select(static answer => answer.Read)], report.Server().CpuSeconds - before.CpuSeconds);
        if (latencies.Count > 0) report.Add($"{name}: server allocates", (await Metrics.AllocatedBytesAsync(api) - allocated) / latencies.Count, "B each");
        // Of the time until an answer was read, this machine's client is late with the asking, and with the reading of what lies at its socket.
        report.Add($"{name}: p99 until it was asked", Report.At([.. latencies.Select(static answer => answer.Asked).Order()], 0.99), "ms");
        report.Add($"{name}: p99 until the answer had arrived", Report.At([.. latencies.Select(static answer => answer.Arrived).Order()], 0.99), "ms");
        report.Add($"{name}: p99 from asked to arrived", Report.At([.. latencies.Select(static answer => answer.Arrived - answer.Asked).Order()], 0.99), "ms");
    }

    private static async Task<(List<Answer> Latencies, TimeSpan Took)> ReadAtRateAsync(ApiConnection api, int rate, int count, LoadOptions options)
    {
        var connections = new RawConnection[8];
        for (var i = 0; i < connections.Length; i++) connections[i] = api.OpenRaw();
        var fields = connections[0].FieldsOf(Objects.ConfigMaps + "/one");
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(options.Seconds * 3));
        using var late = stop.Token.Register(() => Array.ForEach(connections, static connection => connection.Dispose()));
        // More are refused by most servers; what has to wait for a place is late, as it would be for anybody.
        var places = Array.ConvertAll(connections, static _ => new SemaphoreSlim(StreamsPerConnection));
        var asked = new double[count];
        var (clock, startedAt) = (Stopwatch.StartNew(), DateTime.UtcNow);
        var reading = Enumerable.Range(0, connections.Length).Select(first => Task.Factory.StartNew(
            () => ReadAnswers(connections[first], places[first], rate, asked, first, connections.Length, clock, startedAt), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)).ToArray();
        var asking = Pacer.RunAsync(rate, count, clock, (i, _) =>
        {
            if (!places[i % places.Length].Wait(TimeSpan.FromSeconds(options.Seconds * 3), stop.Token)) return false;
            Volatile.Write(ref asked[i], clock.Elapsed.TotalMilliseconds);
            connections[i % connections.Length].Ask(fields);
            return true;
        });
        try
        {
            await asking;
        }
        catch (Exception closed) when (closed is IOException or ObjectDisposedException or OperationCanceledException)
        {
            // Out of time, or the server closed a connection: what was not answered is missing in the count.
        }
        var latencies = await Task.WhenAll(reading);
        clock.Stop();
        foreach (var connection in connections) connection.Dispose();
        return ([.. latencies.SelectMany(static own => own)], clock.Elapsed);
    }

    // Request n of a connection is request (n x step + first) of all.
    private static List<Answer> ReadAnswers(
        RawConnection connection, SemaphoreSlim places, int rate, double[] asked, int first, int step, Stopwatch clock, DateTime startedAt)
    {
        var share = ((asked.Length - first - 1) / step) + 1;
        var own = new List<Answer>(share);
        try
        {
            connection.Read((number, _, isLast) =>
            {
                if (isLast)
                {
                    var request = (number * step) + first;
                    var due = request * 1e3 / rate;
                    own.Add(new Answer(
                        Volatile.Read(ref asked[request]) - due, (connection.ArrivedAt - startedAt).TotalMilliseconds - due, clock.Elapsed.TotalMilliseconds - due));
                    places.Release();
                }
                return own.Count < share;
            });
        }
        catch (Exception ended) when (ended is IOException or ObjectDisposedException)
        {
            // What was not answered is missing in the count.
        }
        return own;
    }

    // Milliseconds since a request was due: until it was asked, until its answer's last byte was there, until that was read.
    private readonly record struct Answer(double Asked, double Arrived, double Read);

    internal static async Task ListAsync(ApiConnection api, Report report, LoadOptions options)
    {
        var pods = options.Scaled(ListedPods);
        await Objects.CreatePodsAsync(api, pods);
        foreach (var clients in (int[])[2, 10])
        {
            await Load.RunAsync($"list {pods} pods", clients, 200, options, report, _ => api.DrainAsync(Objects.Pods));
        }
    }

    /// <summary>
    /// Ten clients that list everything at once: how long, and how much more memory the server has at the worst moment. The client throws away what it reads.
    /// </summary>
    internal static async Task ListManyAsync(ApiConnection api, Report report, LoadOptions options)
    {
        var pods = options.Scaled(ManyPods);
        await Objects.CreatePodsAsync(api, pods);
        foreach (var (form, accept) in new[] { ("JSON", "application/json"), ("protobuf", "application/vnd.kubernetes.protobuf"), ("Table", "application/json;as=Table;g=meta.k8s.io;v=v1") })
        {
            // Once alone: buffers that are kept from then on are no cost of being ten.
            await api.DrainAsync(Objects.Pods, accept);
            await Task.Delay(2_000);
            var before = report.Server();
            var most = before.PssBytes;
            using var done = new CancellationTokenSource();
            var watching = Task.Run(async () =>
            {
                while (!done.IsCancellationRequested)
                {
                    most = Math.Max(most, report.Server().PssBytes);
                    await Task.Delay(50);
                }
            });
            var clock = Stopwatch.StartNew();
            long bytes = 0;
            await Task.WhenAll(Enumerable.Range(0, Listers).Select(_ => Task.Run(async () => Interlocked.Add(ref bytes, await api.DrainAsync(Objects.Pods, accept)))));
            clock.Stop();
            await done.CancelAsync();
            await watching;
            var name = $"list {pods} pods as {form}, {Listers} at once";
            report.Add($"{name}: all done", clock.Elapsed.TotalMilliseconds, "ms");
            report.Add($"{name}: sent", bytes / 1e6, "MB");
            if (options.ServerPids.Length == 0) continue;
            report.Add($"{name}: server CPU", (report.Server().CpuSeconds - before.CpuSeconds) * 1e3 / Listers, "ms each");
            report.Add($"{name}: extra memory", (most - before.PssBytes) / Listers / 1e6, "MB each");
        }
    }
}
