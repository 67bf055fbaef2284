using K3sFast.Client;
using k8s.Models;

namespace K3sFast.ApiServer.Tests;

public sealed class InProcessTests(TestServer server)
{
    [Fact]
    public async Task Client_InProcess_WritesReadsAndIsRefusedAsOverTheWire()
    {
        var ns = await server.NamespaceAsync();
        var client = new ApiClient(server.Server.InProcess(UserInfo.Admin));
        var made = await client.CreateAsync(K3sFast.Client.Resources.ConfigMaps, new V1ConfigMap { Metadata = new V1ObjectMeta { Name = "a", NamespaceProperty = ns } }, TestContext.Current.CancellationToken);
        Assert.NotEmpty(made.Metadata.ResourceVersion);
        var missing = await Assert.ThrowsAsync<ApiException>(async () => await client.GetAsync(K3sFast.Client.Resources.ConfigMaps, ns, "b", TestContext.Current.CancellationToken));
        Assert.True(missing.IsNotFound);

        var nobody = server.Server.InProcess(new UserInfo("nobody", [UserInfo.AuthenticatedGroup]));
        var refused = await Assert.ThrowsAsync<ApiException>(async () => await nobody.ListAsync("/api/v1/pods", TestContext.Current.CancellationToken));
        Assert.Equal(403, refused.Code);
    }

    [Fact]
    public async Task Watch_InProcess_FollowsAListWithoutAGap()
    {
        var ns = await server.NamespaceAsync();
        var transport = server.Server.InProcess(UserInfo.Admin);
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        var list = await transport.ListAsync(path, TestContext.Current.CancellationToken);
        await server.CreateAsync(path, """{"metadata":{"name":"a"}}""");
        await server.SendAsync(HttpMethod.Delete, $"{path}/a");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(90));
        var seen = new List<string>();
        await foreach (var frame in transport.WatchAsync($"{path}?watch=true&resourceVersion={list.ResourceVersion}", limit.Token))
        {
            seen.Add($"{frame.Type} {frame.Object.Decode(K3sFast.Client.Resources.ConfigMaps.Type).Metadata.Name}");
            if (seen.Count == 2)
                break;
        }
        Assert.Equal(["Added a", "Deleted a"], seen);
    }

    [Fact]
    public async Task Informer_ThatKeepsEncoded_HoldsNoDecodedObjectAndFollowsEveryChange()
    {
        var cancel = TestContext.Current.CancellationToken;
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        for (var i = 0; i < 20; i++)
            await server.CreateAsync(path, $$$"""{"metadata":{"name":"c{{{i:D2}}}","labels":{"parity":"{{{i % 2}}}"}},"data":{"k":"0"}}""");
        var changes = new List<string>();
        var informer = new Informer<V1ConfigMap>(
            new ApiClient(server.Server.InProcess(UserInfo.Admin)), K3sFast.Client.Resources.ConfigMaps, ns, default, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance, keepsEncoded: true);
        informer.AddIndex("parity", static map => map.Metadata.Labels is { } labels && labels.TryGetValue("parity", out var parity) ? [parity] : []);
        informer.AddHandler(new InformerHandler<V1ConfigMap>(
            null, (old, now) => Note($"{old.Metadata.Name}: {old.Data["k"]} to {now.Data["k"]}"), gone => Note($"{gone.Metadata.Name} gone")));
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var running = informer.RunAsync(stop.Token);
        await informer.WaitForSyncAsync(cancel);

        Assert.Equal(10, informer.ByIndex("parity", "1").Count);
        // Once nobody uses what was decoded, nothing holds it: the informer has bytes.
        Assert.Equal(0, await LiveAsync(informer, ns));
        Assert.Equal("0", informer.Get(ns, "c07")!.Data["k"]);

        await server.SendAsync(HttpMethod.Put, $"{path}/c07", """{"metadata":{"name":"c07","labels":{"parity":"0"}},"data":{"k":"1"}}""");
        await server.SendAsync(HttpMethod.Delete, $"{path}/c08");
        for (var i = 0; i < 600 && Count() < 2; i++)
            await Task.Delay(100, cancel);
        Assert.Equal(["c07: 0 to 1", "c08 gone"], changes);
        Assert.Equal("1", informer.Get(ns, "c07")!.Data["k"]);
        Assert.Null(informer.Get(ns, "c08"));
        Assert.Equal(9, informer.ByIndex("parity", "1").Count);
        Assert.Contains(informer.ByIndex("parity", "0"), static map => map.Metadata.Name == "c07");
        Assert.Equal(19, informer.List(ns).Count(static map => map.Metadata.Name.StartsWith('c')));
        await stop.CancelAsync();
        await running;

        void Note(string change)
        {
            lock (changes)
                changes.Add(change);
        }

        int Count()
        {
            lock (changes)
                return changes.Count;
        }
    }

    // How many of the informer's objects stay decoded when they are no longer used; the collector is given several chances.
    private static async Task<int> LiveAsync(Informer<V1ConfigMap> informer, string ns)
    {
        var references = Decode(informer, ns);
        for (var i = 0; i < 20 && references.Exists(static reference => reference.IsAlive); i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            await Task.Delay(20);
        }
        return references.Count(static reference => reference.IsAlive);
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static List<WeakReference> Decode(Informer<V1ConfigMap> informer, string ns) => informer.List(ns).ConvertAll(static map => new WeakReference(map));
}
