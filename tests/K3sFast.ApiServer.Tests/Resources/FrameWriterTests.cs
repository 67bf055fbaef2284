using System.IO.Pipelines;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer.Tests;

public sealed class FrameWriterTests
{
    [Theory]
    [InlineData("Json", "None", 1)]
    [InlineData("Protobuf", "None", 1)]
    [InlineData("Json", "PartialObjectMetadata", 1)]
    [InlineData("Json", "Table", 1)]
    // The last of several that have the same owners shares them with the others.
    [InlineData("Json", "None", 4)]
    [InlineData("Protobuf", "None", 4)]
    public async Task Event_ToOneMoreWatcherOfAForm_AllocatesNothing(string media, string projection, int objects)
    {
        var directory = Directory.CreateTempSubdirectory("frames-").FullName;
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(directory, "state.db") });
        await using var cacher = new Cacher(store, new CacherOptions());
        var catalog = new ResourceCatalog(Schema.BuiltIn, cacher);
        await cacher.StartAsync(TestContext.Current.CancellationToken);
        var call = new LocalApiCall(UserInfo.Admin, "GET", "/api/v1/namespaces/default/configmaps?watch=1", default, null, CancellationToken.None);
        var endpoint = catalog.Find(call.Info)!;
        using var cursor = endpoint.Storage!.Cache.OpenCursor(cacher.CurrentRevision);
        var owned = $$"""{"f:data":{"f:{{Guid.NewGuid():N}}":{},"f:{{new string('k', 200)}}":{} } }""";
        for (var i = 0; i < objects; i++)
        {
            var body = $$$"""{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a{{{i}}}","namespace":"default","uid":"u","creationTimestamp":"2026-01-01T00:00:00Z","managedFields":[{"manager":"m","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{{{owned}}}}]},"data":{"k":"v"}}""";
            (await cacher.WriteAsync(AppendRequest.Create($"/registry/configmaps/default/a{i}", Encoding.UTF8.GetBytes(body)), TestContext.Current.CancellationToken)).Object!.Dispose();
        }
        var events = new WatchEvent[objects];
        Assert.Equal(objects, cursor.Read(events));
        var change = events[^1];
        Assert.Equal(objects > 1, !change.Object.Json.Shared.IsEmpty);

        var format = new ResponseFormat(Enum.Parse<MediaKind>(media), Enum.Parse<Projection>(projection));
        var table = new SharedFrameTable();
        using var lease = table.Rent(endpoint, format, IncludeObject.Metadata);
        var first = new FrameWriter(endpoint, format, ObjectFilter.Parse(call, endpoint, null), IncludeObject.Metadata, TimeProvider.System, lease?.Frames);
        var another = new FrameWriter(endpoint, format, ObjectFilter.Parse(call, endpoint, null), IncludeObject.Metadata, TimeProvider.System, lease?.Frames);
        var output = new CountingWriter();
        // A table's first row has its headers, for this watcher alone.
        first.WriteEvent(output, change);
        first.WriteEvent(output, change);
        another.WriteEvent(output, change);
        var before = output.Bytes;
        another.WriteEvent(output, change);
        var frame = output.Bytes - before;
        Assert.True(frame > 50);

        var allocated = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            another.WriteEvent(output, change);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - allocated);
        Assert.Equal(before + (1001 * frame), output.Bytes);
        cursor.Dispose();
        await cacher.DisposeAsync();
        await store.DisposeAsync();
        Directory.Delete(directory, recursive: true);
    }

    [Fact]
    public void Frame_WhosePlaceIsTaken_IsMadeAnew()
    {
        var frames = new SharedFrames();
        Assert.Null(frames.Find(5, WatchEventType.Added));
        frames.Keep(5, WatchEventType.Added, [1]);
        Assert.Equal([1], frames.Find(5, WatchEventType.Added));
        Assert.Null(frames.Find(5, WatchEventType.Deleted));
        // The place of 5 goes to another revision.
        frames.Keep(5 + 128, WatchEventType.Added, [2]);
        Assert.Null(frames.Find(5, WatchEventType.Added));
        Assert.Equal([2], frames.Find(5 + 128, WatchEventType.Added));
    }

    private sealed class CountingWriter : PipeWriter
    {
        private readonly byte[] _buffer = new byte[64 * 1024];

        internal long Bytes { get; private set; }

        public override void Advance(int bytes) => Bytes += bytes;

        public override Memory<byte> GetMemory(int sizeHint = 0) => _buffer;

        public override Span<byte> GetSpan(int sizeHint = 0) => _buffer;

        public override void CancelPendingFlush()
        {
        }

        public override void Complete(Exception? exception = null)
        {
        }

        public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => default;
    }
}
