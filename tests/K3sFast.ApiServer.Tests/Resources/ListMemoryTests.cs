using System.Collections.Concurrent;
using System.IO.Compression;
using System.IO.Pipelines;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer.Tests;

/// <summary>A list's memory does not grow with the list, whatever its form: it goes from the cache's bytes to the connection piece by piece.</summary>
public sealed class ListMemoryTests
{
    private const int Pods = 4000;

    // A fortieth of what the pods' bytes are: what one answer may take of the pool when that is empty. Who gathers a list, or makes something of each object
    // of it, cannot stay below.
    private const long MostBytes = 256 * 1024;

    // With room for what indentation adds to a piece.
    private const long MostIndentedBytes = 1024 * 1024;

    [Theory]
    [InlineData("application/json", false)]
    [InlineData("application/json", true)]
    [InlineData("application/vnd.kubernetes.protobuf", false)]
    [InlineData("application/vnd.kubernetes.protobuf", true)]
    [InlineData("application/json;as=Table;g=meta.k8s.io;v=v1", false)]
    [InlineData("application/json;as=Table;g=meta.k8s.io;v=v1", true)]
    [InlineData("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", false)]
    [InlineData("application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", true)]
    [InlineData("application/yaml", false)]
    [InlineData("application/yaml", true)]
    [InlineData("application/yaml;as=Table;g=meta.k8s.io;v=v1", false)]
    public async Task List_OfManyPods_IsNeverGatheredInMemory(string accept, bool gzip)
    {
        await using var server = await StoredPods.CreateAsync();
        var warm = new DiscardingCall("/api/v1/namespaces/default/pods?labelSelector=app%3Dnone", accept, gzip);
        await server.ListAsync(warm);

        var call = new DiscardingCall("/api/v1/namespaces/default/pods", accept, gzip);
        var allocated = OneThread.BytesOf(() => server.ListAsync(call));

        Assert.Equal(200, call.AnsweredStatus);
        Assert.Equal(gzip, call.IsCompressed);
        Assert.InRange(allocated, 0, MostBytes);
        Assert.InRange(call.Writer.Bytes, gzip ? 20_000 : 400_000, long.MaxValue);
        if (call.Length >= 0)
            Assert.Equal(call.Length, call.Writer.Bytes);
    }

    [Fact]
    public async Task List_AsProtobufInPieces_IsWhatTheWholeIs()
    {
        await using var server = await StoredPods.CreateAsync();
        var plain = await server.KeepAsync("/api/v1/namespaces/default/pods", "application/vnd.kubernetes.protobuf", gzip: false);
        Assert.Equal(plain, await server.KeepAsync("/api/v1/namespaces/default/pods", "application/vnd.kubernetes.protobuf", gzip: true));
        using var list = ProtobufCodec.Decode(plain, Schema.BuiltIn);
        var names = new List<string>();
        foreach (var item in list.Root["items"u8].Elements)
            names.Add(item["metadata"u8]["name"u8].AsString());
        Assert.Equal(Enumerable.Range(0, Pods).Select(static i => $"p-{i:D5}"), names);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task List_Indented_IsTheCompactListAndNeverGathered(bool gzip)
    {
        await using var server = await StoredPods.CreateAsync();
        await server.ListAsync(new DiscardingCall("/api/v1/namespaces/default/pods?pretty=true&labelSelector=app%3Dnone", "application/json", gzip));
        var indented = new DiscardingCall("/api/v1/namespaces/default/pods?pretty=true", "application/json", gzip);
        Assert.InRange(OneThread.BytesOf(() => server.ListAsync(indented)), 0, MostIndentedBytes);

        using var output = new PooledBuffer();
        JsonIndent.Write(await server.KeepAsync("/api/v1/namespaces/default/pods", "application/json", gzip: false), output);
        Assert.Equal(Encoding.UTF8.GetString(output.Span), Encoding.UTF8.GetString(await server.KeepAsync("/api/v1/namespaces/default/pods?pretty=true", "application/json", gzip)));
    }

    [Theory]
    [InlineData("", "", false)]
    [InlineData("", "", true)]
    [InlineData("?limit=1", "", false)]
    [InlineData("?limit=300", "", true)]
    [InlineData("?labelSelector=app%3Dnone", "", false)]
    [InlineData("", ";as=Table;g=meta.k8s.io;v=v1", false)]
    [InlineData("?labelSelector=app%3Dnone", ";as=Table;g=meta.k8s.io;v=v1", false)]
    [InlineData("?limit=3", ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", false)]
    public async Task List_AsYaml_IsTheJsonListWrittenWhole(string query, string projection, bool gzip)
    {
        await using var server = await StoredPods.CreateAsync();
        var path = "/api/v1/namespaces/default/pods" + query;
        using var list = JsonCodec.Decode(await server.KeepAsync(path, "application/json" + projection, gzip: false), null, DecodeOptions.Free, null);
        using var output = new PooledBuffer();
        YamlText.Write(list.Root, output);
        Assert.Equal(Encoding.UTF8.GetString(output.Span), Encoding.UTF8.GetString(await server.KeepAsync(path, "application/yaml" + projection, gzip)));
    }

    /// <summary>Keeps what lets others have their turn on the thread whose bytes are counted.</summary>
    private sealed class OneThread : SynchronizationContext
    {
        private readonly BlockingCollection<(SendOrPostCallback Callback, object? State)> _posted = [];

        internal static long BytesOf(Func<ValueTask> act)
        {
            var context = new OneThread();
            var previous = Current;
            SetSynchronizationContext(context);
            try
            {
                var before = GC.GetAllocatedBytesForCurrentThread();
                var task = act().AsTask();
                while (!task.IsCompleted)
                {
                    if (context._posted.TryTake(out var posted, 100))
                        posted.Callback(posted.State);
                }
                task.GetAwaiter().GetResult();
                return GC.GetAllocatedBytesForCurrentThread() - before;
            }
            finally
            {
                SetSynchronizationContext(previous);
            }
        }

        public override void Post(SendOrPostCallback d, object? state) => _posted.Add((d, state));
    }

    /// <summary>A catalog over a store with pods in it, and the reader.</summary>
    private sealed class StoredPods(string directory, SqliteDatastore store, Cacher cacher, ResourceCatalog catalog) : IAsyncDisposable
    {
        private static readonly string s_filler = new('x', 2000);

        private readonly ObjectReader _reader = new(TimeProvider.System);

        internal static async Task<StoredPods> CreateAsync()
        {
            var directory = Directory.CreateTempSubdirectory("lists-").FullName;
            var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = Path.Combine(directory, "state.db") });
            var cacher = new Cacher(store, new CacherOptions());
            var catalog = new ResourceCatalog(Schema.BuiltIn, cacher);
            await cacher.StartAsync(TestContext.Current.CancellationToken);
            await Task.WhenAll(Enumerable.Range(0, Pods).Select(async i =>
            {
                var json = $$$"""{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p-{{{i:D5}}}","namespace":"default","uid":"u-{{{i}}}","creationTimestamp":"2026-01-01T00:00:00Z","annotations":{"filler":"{{{s_filler}}}"},"managedFields":[{"manager":"m","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:filler":{} } },"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{} } } } } }]},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]},"status":{"phase":"Running"}}""";
                (await cacher.WriteAsync(AppendRequest.Create($"/registry/pods/default/p-{i:D5}", Encoding.UTF8.GetBytes(json)))).Object!.Dispose();
            }));
            return new StoredPods(directory, store, cacher, catalog);
        }

        internal ValueTask ListAsync(ApiCall call) => _reader.ListAsync(call, catalog.Find(call.Info)!);

        /// <summary>What a list is, unpacked.</summary>
        internal async Task<byte[]> KeepAsync(string target, string accept, bool gzip)
        {
            var call = new DiscardingCall(target, accept, gzip) { Keeps = true };
            await ListAsync(call);
            Assert.Equal(200, call.AnsweredStatus);
            if (!call.IsCompressed)
                return call.Writer.Kept.ToArray();
            call.Writer.Kept.Position = 0;
            using var unpacked = new MemoryStream();
            using (var stream = new GZipStream(call.Writer.Kept, CompressionMode.Decompress))
                await stream.CopyToAsync(unpacked, TestContext.Current.CancellationToken);
            return unpacked.ToArray();
        }

        public async ValueTask DisposeAsync()
        {
            await cacher.DisposeAsync();
            await store.DisposeAsync();
            Directory.Delete(directory, recursive: true);
        }
    }

    private sealed class DiscardingCall : ApiCall
    {
        private readonly bool _gzip;

        internal DiscardingCall(string target, string accept, bool gzip)
        {
            Assert.True(TryBegin("GET", target));
            (Accept, _gzip, User) = (accept, gzip, UserInfo.Admin);
        }

        internal DiscardingWriter Writer { get; } = new();

        internal bool Keeps { set => Writer.Keeps = value; }

        internal bool IsCompressed { get; private set; }

        internal long Length { get; private set; } = -1;

        internal override string? Accept { get; }

        internal override string? ContentType => null;

        internal override bool AcceptsGzip => _gzip;

        internal override bool HasStarted => AnsweredStatus != 0;

        internal override CancellationToken Aborted => CancellationToken.None;

        internal override PipeWriter Output => Writer;

        internal override string ClientName => "test";

        internal override ValueTask<PooledBuffer> ReadBodyAsync(long limitBytes) => throw new NotSupportedException();

        internal override void SetHeader(string name, string value) => IsCompressed |= name == "Content-Encoding";

        internal override void Start(int statusCode, string contentType, long length) => (AnsweredStatus, Length) = (statusCode, length);

        internal override string? Header(string name) => null;
    }

    private sealed class DiscardingWriter : PipeWriter
    {
        private byte[] _buffer = new byte[256 * 1024];

        internal bool Keeps { get; set; }

        internal long Bytes { get; private set; }

        internal MemoryStream Kept { get; } = new();

        public override void Advance(int bytes)
        {
            Bytes += bytes;
            if (Keeps)
                Kept.Write(_buffer, 0, bytes);
        }

        public override Memory<byte> GetMemory(int sizeHint = 0)
        {
            if (sizeHint > _buffer.Length)
                _buffer = new byte[sizeHint];
            return _buffer;
        }

        public override Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

        public override void CancelPendingFlush()
        {
        }

        public override void Complete(Exception? exception = null)
        {
        }

        public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => default;
    }
}
