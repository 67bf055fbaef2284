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
    [InlineData("Json", "None")]
    [InlineData("Protobuf", "None")]
    [InlineData("Json", "PartialObjectMetadata")]
    [InlineData("Json", "Table")]
    public async Task Event_ToOneMoreWatcherOfAForm_AllocatesNothing(string media, string projection)
    {
        var directory = Directory.CreateTempSubdirectory("frames-").FullName;
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(directory, "state.db") });
        await using var cacher = new Cacher(store, new CacherOptions());
        var catalog = new ResourceCatalog(Schema.BuiltIn, cacher);
        await cacher.StartAsync(TestContext.Current.CancellationToken);
        var call = new LocalApiCall(UserInfo.Admin, "GET", "/api/v1/namespaces/default/configmaps?watch=1", default, null, CancellationToken.None);
        var endpoint = catalog.Find(call.Info)!;
        using var cursor = endpoint.Storage!.Cache.OpenCursor(cacher.CurrentRevision);
        var body = """{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"default","uid":"u","creationTimestamp":"2026-01-01T00:00:00Z"},"data":{"k":"v"}}""";
        (await cacher.WriteAsync(AppendRequest.Create("/registry/configmaps/default/a", Encoding.UTF8.GetBytes(body)), TestContext.Current.CancellationToken)).Object!.Dispose();
        var events = new WatchEvent[1];
        Assert.Equal(1, cursor.Read(events));

        var format = new ResponseFormat(Enum.Parse<MediaKind>(media), Enum.Parse<Projection>(projection));
        var table = new SharedFrameTable();
        using var lease = table.Rent(endpoint, format, IncludeObject.Metadata);
        var first = new FrameWriter(endpoint, format, ObjectFilter.Parse(call, endpoint, null), IncludeObject.Metadata, TimeProvider.System, lease?.Frames);
        var another = new FrameWriter(endpoint, format, ObjectFilter.Parse(call, endpoint, null), IncludeObject.Metadata, TimeProvider.System, lease?.Frames);
        var output = new CountingWriter();
        // A table's first row has its headers, for this watcher alone.
        first.WriteEvent(output, events[0]);
        first.WriteEvent(output, events[0]);
        another.WriteEvent(output, events[0]);
        var before = output.Bytes;
        another.WriteEvent(output, events[0]);
        var frame = output.Bytes - before;
        Assert.True(frame > 50);

        var allocated = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            another.WriteEvent(output, events[0]);
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
