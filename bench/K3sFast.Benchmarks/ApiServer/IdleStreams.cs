using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using K3sFast.ApiServer;
using K3sFast.ApiServer.Tests;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Benchmarks;

/// <summary>
/// What an idle watch costs above the stream that carries it: so many answers that never end, first of a bare Kestrel, then of our API server, each in a
/// process of its own with the product's settings of the collector. The same client opens both in the same way, over as many connections.
/// </summary>
/// <remarks><c>dotnet run -c Release --project bench/K3sFast.Benchmarks -- streams [--streams N]</c></remarks>
internal static class IdleStreams
{
    internal const string ServerMode = "streams-server";

    // Streams that are opened before anything is measured: code, connections' pools and dictionaries are there then.
    private const int WarmStreams = 500;
    private const int Openers = 32;

    internal static async Task<int> RunAsync(string[] arguments)
    {
        var streams = Array.IndexOf(arguments, "--streams") is var at and >= 0 ? int.Parse(arguments[at + 1], CultureInfo.InvariantCulture) : 10_000;
        var bare = await MeasureAsync("bare", streams).ConfigureAwait(false);
        var ours = await MeasureAsync("ours", streams).ConfigureAwait(false);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"bytes of each of {streams} idle streams: heap, of the process (PSS)"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Kestrel alone      {bare.Heap / streams,7:0} {bare.Pss / streams,7:0}"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"a watch of ours    {ours.Heap / streams,7:0} {ours.Pss / streams,7:0}"));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"above Kestrel's    {(ours.Heap - bare.Heap) / streams,7:0} {(ours.Pss - bare.Pss) / streams,7:0}"));
        return 0;
    }

    /// <summary>The server's process: says its port, then at each line that it reads, what is on its heap.</summary>
    internal static async Task<int> ServeAsync(string kind, string clientFile)
    {
        var certificates = new TestCertificates();
        await File.WriteAllBytesAsync(clientFile, certificates.Client("admin", "system:masters").Export(X509ContentType.Pkcs12)).ConfigureAwait(false);
        await using IAsyncDisposable server = kind == "bare" ? await BareStreams.StartAsync(certificates.Serving).ConfigureAwait(false) : await OurServer.StartAsync(certificates, clientFile + ".db").ConfigureAwait(false);
        Console.WriteLine((server as BareStreams)?.Port ?? ((OurServer)server).Port);
        while (await Console.In.ReadLineAsync().ConfigureAwait(false) is not null)
        {
            for (var i = 0; i < 3; i++)
            {
                GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
                GC.WaitForPendingFinalizers();
            }
            Console.WriteLine(GC.GetTotalMemory(forceFullCollection: true).ToString(CultureInfo.InvariantCulture));
        }
        return 0;
    }

    private static async Task<(double Heap, double Pss)> MeasureAsync(string kind, int streams)
    {
        var directory = Directory.CreateTempSubdirectory("streams-").FullName;
        using var server = Start(kind, directory + "/client.p12");
        try
        {
            var port = int.Parse((await server.StandardOutput.ReadLineAsync().ConfigureAwait(false))!, CultureInfo.InvariantCulture);
            var clients = Enumerable.Range(0, 8).Select(_ => Connect(port, directory + "/client.p12")).ToArray();
            var warm = await OpenAsync(clients, WarmStreams, "warm").ConfigureAwait(false);
            var before = await UseAsync(server).ConfigureAwait(false);
            var open = await OpenAsync(clients, streams, "node").ConfigureAwait(false);
            var after = await UseAsync(server).ConfigureAwait(false);
            GC.KeepAlive((warm, open, clients));
            return (after.Heap - before.Heap, after.Pss - before.Pss);
        }
        finally
        {
            server.Kill();
            await server.WaitForExitAsync().ConfigureAwait(false);
            Directory.Delete(directory, recursive: true);
        }
    }

    private static Process Start(string kind, string clientFile)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!, [ServerMode, kind, clientFile]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        // The executable's settings; numbers are hexadecimal here.
        start.Environment["DOTNET_GCConserveMemory"] = "5";
        start.Environment["DOTNET_GCGen0MaxBudget"] = "600000";
        start.Environment["DOTNET_TieredCompilation"] = "0";
        return Process.Start(start)!;
    }

    private static HttpClient Connect(int port, string clientFile) => new(new SocketsHttpHandler
    {
        EnableMultipleHttp2Connections = true,
        SslOptions = new SslClientAuthenticationOptions
        {
            RemoteCertificateValidationCallback = static (_, _, _, _) => true,
            ClientCertificates = [X509CertificateLoader.LoadPkcs12FromFile(clientFile, null)],
        },
    })
    {
        BaseAddress = new Uri($"https://127.0.0.1:{port}"),
        DefaultRequestVersion = HttpVersion.Version20,
        DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        Timeout = Timeout.InfiniteTimeSpan,
    };

    private static async Task<Stream[]> OpenAsync(HttpClient[] clients, int count, string name)
    {
        var open = new Stream[count];
        var next = -1;
        await Task.WhenAll(Enumerable.Range(0, Openers).Select(_ => Task.Run(async () =>
        {
            for (var i = Interlocked.Increment(ref next); i < count; i = Interlocked.Increment(ref next))
            {
                var path = $"/api/v1/pods?watch=true&timeoutSeconds=3000&resourceVersion=0&fieldSelector=spec.nodeName%3D{name}-{i}";
                var answer = await clients[i % clients.Length].GetAsync(path, HttpCompletionOption.ResponseHeadersRead).ConfigureAwait(false);
                answer.EnsureSuccessStatusCode();
                open[i] = await answer.Content.ReadAsStreamAsync().ConfigureAwait(false);
            }
        }))).ConfigureAwait(false);
        return open;
    }

    private static async Task<(double Heap, double Pss)> UseAsync(Process server)
    {
        // What opening them left to do is done by then; Kestrel's pools give idle blocks back within seconds.
        await Task.Delay(TimeSpan.FromSeconds(15)).ConfigureAwait(false);
        await server.StandardInput.WriteLineAsync("measure").ConfigureAwait(false);
        await server.StandardInput.FlushAsync().ConfigureAwait(false);
        var heap = double.Parse((await server.StandardOutput.ReadLineAsync().ConfigureAwait(false))!, CultureInfo.InvariantCulture);
        var pss = File.ReadLines($"/proc/{server.Id}/smaps_rollup").First(static line => line.StartsWith("Pss:", StringComparison.Ordinal));
        return (heap, double.Parse(pss.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024);
    }

    /// <summary>Our API server over an empty store.</summary>
    private sealed class OurServer(SqliteDatastore store, K3sFast.ApiServer.ApiServer server) : IAsyncDisposable
    {
        internal int Port => server.Port;

        internal static async Task<OurServer> StartAsync(TestCertificates certificates, string path)
        {
            var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = path });
            var server = new K3sFast.ApiServer.ApiServer(certificates.ServerOptions, store, NullLoggerFactory.Instance);
            await server.StartAsync(CancellationToken.None).ConfigureAwait(false);
            return new OurServer(store, server);
        }

        public async ValueTask DisposeAsync()
        {
            await server.DisposeAsync().ConfigureAwait(false);
            await store.DisposeAsync().ConfigureAwait(false);
        }
    }
}
