using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using K3sFast.ApiServer;
using K3sFast.ApiServer.Tests;
using K3sFast.Client;
using K3sFast.Datastore.Sqlite;
using K3sFast.Hostile;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Benchmarks;

/// <summary>
/// Every hostile body against a server in this process: the shortest of some tries in CPU time, the bytes that one try allocates, what it was answered. Marks
/// what takes more than the bounds of 100 ms and 32 MB.
/// </summary>
internal static class HostileRequests
{
    private const int Tries = 5;
    private const double MaxMs = 100;
    private const double MaxMegabytes = 32;

    internal static async Task<int> RunAsync(string[] arguments)
    {
        var wanted = arguments.Length > 1 ? arguments[1] : "";
        var directory = Directory.CreateTempSubdirectory("hostile-").FullName;
        var certificates = new TestCertificates();
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(directory, "state.db") });
        await using var server = new K3sFast.ApiServer.ApiServer(certificates.ServerOptions, store, NullLoggerFactory.Instance);
        await server.StartAsync(CancellationToken.None).ConfigureAwait(false);
        var transport = server.InProcess(UserInfo.Admin);
        foreach (var (path, body) in HostileBodies.Targets)
            await transport.SendAsync(new ApiRequest("POST", path) { Body = System.Text.Encoding.UTF8.GetBytes(body), ContentType = "application/json" }, CancellationToken.None).ConfigureAwait(false);
        var missed = 0;
        foreach (var attack in HostileBodies.All.Where(attack => attack.Name.Contains(wanted, StringComparison.Ordinal)))
            missed += await MeasureAsync(transport, attack).ConfigureAwait(false) ? 0 : 1;
        Directory.Delete(directory, recursive: true);
        return missed > 0 ? 1 : 0;
    }

    private static async Task<bool> MeasureAsync(IApiTransport transport, HostileBody attack)
    {
        var request = new ApiRequest(attack.Method, attack.Path) { Body = attack.Body(), ContentType = attack.ContentType };
        double bestMs = double.MaxValue, megabytes = 0;
        ApiResponse answer = default!;
        for (var i = 0; i < Tries && (i < 2 || bestMs < 2000); i++)
        {
            var bytes = GC.GetTotalAllocatedBytes(precise: true);
            var cpu = Process.GetCurrentProcess().TotalProcessorTime;
            answer = await transport.SendAsync(request, CancellationToken.None).ConfigureAwait(false);
            bestMs = Math.Min(bestMs, (Process.GetCurrentProcess().TotalProcessorTime - cpu).TotalMilliseconds);
            megabytes = (GC.GetTotalAllocatedBytes(precise: true) - bytes) / 1048576.0;
        }
        var isWithin = bestMs <= MaxMs && megabytes <= MaxMegabytes && answer.StatusCode == attack.Code;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{(isWithin ? " " : "!")} {bestMs,8:f1} ms {megabytes,7:f1} MB  {answer.StatusCode} {attack.Name}"));
        if (answer.StatusCode != attack.Code)
            Console.WriteLine($"    {System.Text.Encoding.UTF8.GetString(answer.Body.Span[..Math.Min(600, answer.Body.Length)])}");
        return isWithin;
    }
}
