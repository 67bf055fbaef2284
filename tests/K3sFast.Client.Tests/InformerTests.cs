using k8s.Models;
using K3sFast.Client.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Client.Tests;

public sealed class InformerTests
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(90);

    [Fact]
    public async Task Informer_ObjectsBeforeAndAfterStart_HandlersHearBothOnce()
    {
        var api = new InMemoryApi();
        await api.Client.CreateAsync(Resources.ConfigMaps, Map("a"), default);
        using var stop = new CancellationTokenSource(s_deadline);
        var heard = new List<string>();
        var informer = new Informer<V1ConfigMap>(api.Client, Resources.ConfigMaps, null, default, NullLogger.Instance);
        informer.AddHandler(new InformerHandler<V1ConfigMap>(Added: value => heard.Add(value.Metadata.Name)));
        var running = informer.RunAsync(stop.Token);
        await informer.WaitForSyncAsync(stop.Token);

        await api.Client.CreateAsync(Resources.ConfigMaps, Map("b"), default);
        await Until(() => heard.Count == 2, stop.Token);

        Assert.Equal(["a", "b"], heard);
        await stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task Informer_DeletedWhileWatchIsDown_HandlersHearTheDeletion()
    {
        var api = new InMemoryApi();
        await api.Client.CreateAsync(Resources.ConfigMaps, Map("a"), default);
        using var stop = new CancellationTokenSource(s_deadline);
        var deleted = new List<string>();
        var informer = new Informer<V1ConfigMap>(api.Client, Resources.ConfigMaps, null, default, NullLogger.Instance);
        informer.AddHandler(new InformerHandler<V1ConfigMap>(Deleted: value => deleted.Add(value.Metadata.Name)));
        var running = informer.RunAsync(stop.Token);
        await informer.WaitForSyncAsync(stop.Token);

        api.EndWatches();
        await api.Client.DeleteAsync(Resources.ConfigMaps, "default", "a", default);
        await Until(() => deleted.Count == 1, stop.Token);

        Assert.Equal(["a"], deleted);
        await stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task Informer_Index_FollowsChanges()
    {
        var api = new InMemoryApi();
        var map = Map("a");
        map.Data = new Dictionary<string, string> { ["colour"] = "red" };
        await api.Client.CreateAsync(Resources.ConfigMaps, map, default);
        using var stop = new CancellationTokenSource(s_deadline);
        var informer = new Informer<V1ConfigMap>(api.Client, Resources.ConfigMaps, null, default, NullLogger.Instance);
        informer.AddIndex("colour", value => value.Data is { } data ? [data["colour"]] : []);
        var running = informer.RunAsync(stop.Token);
        await informer.WaitForSyncAsync(stop.Token);
        Assert.Single(informer.ByIndex("colour", "red"));

        await api.Client.PatchAsync(Resources.ConfigMaps, "default", "a", PatchBody.Merge("""{"data":{"colour":"blue"}}"""u8.ToArray()), default);
        await Until(() => informer.ByIndex("colour", "blue").Count == 1, stop.Token);

        Assert.Empty(informer.ByIndex("colour", "red"));
        await stop.CancelAsync();
        await running;
    }

    private static V1ConfigMap Map(string name) => new() { Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "default" } };

    private static async Task Until(Func<bool> condition, CancellationToken cancellationToken)
    {
        while (!condition()) await Task.Delay(5, cancellationToken);
    }
}
