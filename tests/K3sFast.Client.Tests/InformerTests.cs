using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json.Serialization.Metadata;
using k8s;
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

    [Fact]
    public async Task EachByIndex_ObjectsKeptEncoded_DecodesTheOneThatTheWalkStandsAt()
    {
        var api = new InMemoryApi();
        for (var i = 0; i < 50; i++) await api.Client.CreateAsync(Resources.ConfigMaps, Map($"m{i:d2}"), default);
        using var stop = new CancellationTokenSource(s_deadline);
        var keeping = new KeepingApi(api);
        var informer = new Informer<V1ConfigMap>(new ApiClient(keeping), Resources.ConfigMaps, null, default, NullLogger.Instance, keepsEncoded: true);
        informer.AddIndex("all", static map => map.Metadata.Labels is null ? ["all"] : []);
        var running = informer.RunAsync(stop.Token);
        await informer.WaitForSyncAsync(stop.Token);

        keeping.Decoded = 0;
        using (var walk = informer.EachByIndex("all", "all").GetEnumerator())
        {
            for (var i = 1; i <= 10; i++)
            {
                Assert.True(walk.MoveNext());
                Assert.Equal(i, keeping.Decoded);
            }
            // What goes, or leaves the index, before the walk comes to it is not shown.
            await api.Client.DeleteAsync(Resources.ConfigMaps, "default", "m48", default);
            await api.Client.PatchAsync(Resources.ConfigMaps, "default", "m49", PatchBody.Merge("""{"metadata":{"labels":{"a":"b"}}}"""u8.ToArray()), default);
            await Until(() => informer.KeysByIndex("all", "all").Count == 48, stop.Token);
            var rest = new List<string>();
            while (walk.MoveNext()) rest.Add(walk.Current.Metadata.Name);
            Assert.DoesNotContain("m48", rest);
            Assert.DoesNotContain("m49", rest);
            Assert.InRange(rest.Count, 38, 40);
        }

        keeping.Decoded = 0;
        Assert.Equal(48, informer.KeysByIndex("all", "all").Count);
        Assert.Equal(0, keeping.Decoded);
        Assert.NotNull(informer.Get("default", "m49"));
        Assert.Null(informer.Get("default", "m48"));
        Assert.Throws<ArgumentException>(() => informer.KeysByIndex("none", ""));
        await stop.CancelAsync();
        await running;
    }

    [Theory]
    [InlineData("7d5f2c1e-7f0f-4f0e-9b57-00000000002a")]
    [InlineData("7D5F2C1E-7f0f-4f0e-9b57-00000000002a")]
    [InlineData("7d5f2c1e7f0f4f0e9b5700000000002a")]
    [InlineData("a-uid-that-was-made-by-a-user-000000")]
    [InlineData("")]
    public void Uid_AnyText_ComesBackAsItWas(string text)
    {
        Assert.Equal(text, new ObjectUid(text).ToString());
        Assert.Equal(new ObjectUid(text), new ObjectUid(new string(text)));
        Assert.NotEqual(new ObjectUid(text), new ObjectUid(text.ToUpperInvariant() + "x"));
    }

    private static V1ConfigMap Map(string name) => new() { Metadata = new V1ObjectMeta { Name = name, NamespaceProperty = "default" } };

    private static async Task Until(Func<bool> condition, CancellationToken cancellationToken)
    {
        while (!condition()) await Task.Delay(5, cancellationToken);
    }

    /// <summary>Hands out objects that can be kept encoded, and counts how often one is decoded.</summary>
    private sealed class KeepingApi(InMemoryApi inner) : IApiTransport
    {
        internal int Decoded { get; set; }

        public ValueTask<ApiResponse> SendAsync(ApiRequest request, CancellationToken cancellationToken) => inner.SendAsync(request, cancellationToken);

        public async ValueTask<EncodedList> ListAsync(string pathAndQuery, CancellationToken cancellationToken)
        {
            var list = await inner.ListAsync(pathAndQuery, cancellationToken);
            return list with { Items = [.. list.Items.Select(item => new Keepable(item, this))] };
        }

        public async IAsyncEnumerable<WatchFrame> WatchAsync(string pathAndQuery, [EnumeratorCancellation] CancellationToken cancellationToken)
        {
            await foreach (var frame in inner.WatchAsync(pathAndQuery, cancellationToken)) yield return frame with { Object = new Keepable(frame.Object, this) };
        }

        private sealed class Keepable(EncodedObject item, KeepingApi owner) : EncodedObject
        {
            public override T Decode<T>(JsonTypeInfo<T> type) => item.Decode(type);

            public override KeptObject<T>? Keep<T>(JsonTypeInfo<T> type) => new Kept<T>(item, ObjectKey.Of((IKubernetesObject<V1ObjectMeta>)item.Decode(type)), owner);
        }

        private sealed class Kept<T>(EncodedObject item, ObjectKey key, KeepingApi owner) : KeptObject<T> where T : class
        {
            public override ObjectKey Key => key;

            public override int KeyHash => ObjectKey.HashOf(Encoding.UTF8.GetBytes(key.Namespace), Encoding.UTF8.GetBytes(key.Name));

            public override bool IsAt(ObjectKey other) => key == other;

            public override T Decode(JsonTypeInfo<T> type)
            {
                owner.Decoded++;
                return item.Decode(type);
            }

            protected override void Dispose(bool disposing)
            {
            }
        }
    }
}
