using System.Net;
using System.Net.Sockets;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.ApiServer.Tests;

public sealed class StartTests(TestServer server)
{
    [Fact]
    public async Task Start_OnATakenPort_SaysWhatToDo()
    {
        var directory = Directory.CreateTempSubdirectory("apiserver-start-").FullName;
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        await using (var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(directory, "state.db") }))
        {
            await using var second = new ApiServer(server.Options with { Port = ((IPEndPoint)taken.LocalEndpoint).Port }, store, NullLoggerFactory.Instance);
            var error = await Assert.ThrowsAsync<ApiServerStartException>(() => second.StartAsync(TestContext.Current.CancellationToken));
            Assert.StartsWith($"cannot listen on 127.0.0.1:{((IPEndPoint)taken.LocalEndpoint).Port}: ", error.Message);
            Assert.EndsWith("stop the program that has the port, or choose another with --https-listen-port", error.Message);
        }
        Directory.Delete(directory, recursive: true);
    }

    [Fact]
    public async Task Restart_OnTheSameStore_KeepsObjectsAndAllocations()
    {
        var directory = Directory.CreateTempSubdirectory("apiserver-restart-").FullName;
        var path = Path.Combine(directory, "state.db");
        await using (var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = path }))
        {
            await using var first = new ApiServer(server.Options, store, NullLoggerFactory.Instance);
            await first.StartAsync(TestContext.Current.CancellationToken);
            var made = await first.InProcess(UserInfo.Admin).SendAsync(
                new("POST", "/api/v1/namespaces/default/services", """{"metadata":{"name":"s"},"spec":{"clusterIP":"10.43.3.3","ports":[{"port":1}]}}"""u8.ToArray(), "application/json"),
                TestContext.Current.CancellationToken);
            Assert.Equal(201, made.StatusCode);
        }
        await using (var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = path }))
        {
            await using var second = new ApiServer(server.Options, store, NullLoggerFactory.Instance);
            await second.StartAsync(TestContext.Current.CancellationToken);
            var api = second.InProcess(UserInfo.Admin);
            Assert.Equal(200, (await api.SendAsync(new("GET", "/api/v1/namespaces/default/services/s"), TestContext.Current.CancellationToken)).StatusCode);
            var clash = await api.SendAsync(
                new("POST", "/api/v1/namespaces/default/services", """{"metadata":{"name":"t"},"spec":{"clusterIP":"10.43.3.3","ports":[{"port":1}]}}"""u8.ToArray(), "application/json"),
                TestContext.Current.CancellationToken);
            Assert.Equal(422, clash.StatusCode);
        }
        Directory.Delete(directory, recursive: true);
    }
}
