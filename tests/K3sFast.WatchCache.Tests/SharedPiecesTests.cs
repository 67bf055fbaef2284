using System.Text;
using K3sFast.Datastore;
using K3sFast.WatchCache.Json;
using K3sFast.WatchCache.Memory;

namespace K3sFast.WatchCache.Tests;

/// <summary>What objects have in common is held once, and nobody who reads them sees a difference.</summary>
[Collection(nameof(AloneCollection))]
public sealed class SharedPiecesTests
{
    private static readonly string[] s_fields = ["metadata.name", "spec.nodeName", "status.phase"];
    private static int s_owned;

    [Theory]
    [InlineData("""{"metadata":{"name":"a","namespace":"n","uid":"u","labels":{"l":"1"},"managedFields":[{"manager":"m","fieldsV1":OWNED}]},"spec":{"nodeName":"n1"},"status":{"phase":"Running"}}""")]
    // Owners before what else is noted, and before the place of the resourceVersion.
    [InlineData("""{"spec":{"nodeName":"n\"1"},"metadata":{"managedFields":[{"manager":"m","fieldsV1":OWNED}],"labels":{"l":"1"},"uid":"u","namespace":"n","name":"a"},"status":{"phase":"Running"}}""")]
    [InlineData("""{"status":{"phase":"Running"},"metadata":{"managedFields":[{"fieldsV1":OWNED,"manager":"m"}],"resourceVersion":"123456","name":"a","uid":"u","namespace":"n","labels":{"l":"1"}},"spec":{"nodeName":"n1"}}""")]
    [InlineData("""{"metadata":{"name":"a","resourceVersion":"1","namespace":"n","labels":{"l":"1"},"managedFields":[{"fieldsV1":{"f:x":{}}},{"manager":"m","fieldsV1":OWNED},{"fieldsV1":{}}],"uid":"u"},"spec":{"nodeName":"n1"},"status":{"phase":"Running"}}""")]
    // Spaces, elements that are no owners, and a field value with an escape.
    [InlineData("""{ "metadata" : { "name" : "a" , "namespace":"n", "uid":"u", "labels":{"l":"1"}, "managedFields" : [ null , { "manager" : "m" , "fieldsV1" : OWNED } ] } , "spec":{"nodeName":"n\u00e91"},"status":{"phase":"Running"} }""")]
    public void Object_WithASharedPiece_ReadsAsTheOneThatHasItAlone(string template)
    {
        string json = template.Replace("OWNED", Owned(), StringComparison.Ordinal);
        using var alone = Make(json);
        using var holder = Make(json);
        Assert.Equal(0, alone.Json.Shared.Length);
        Assert.True(holder.Json.Shared.Length >= SharedPieces.MinBytes);
        Assert.True(holder.SizeBytes + holder.Json.Shared.Length <= alone.SizeBytes + 32, $"{holder.SizeBytes} and {alone.SizeBytes} bytes");
        AssertSame(alone, holder);
        using var last = StoredObjectWriter.CreateDeleted(holder, 99, new FieldPaths(s_fields));
        using var lastAlone = StoredObjectWriter.CreateDeleted(alone, 99, new FieldPaths(s_fields));
        AssertSame(lastAlone, last);
        Assert.Contains("\"resourceVersion\":\"99\"", last.Json.Text(), StringComparison.Ordinal);
    }

    [Fact]
    public void Json_OfMembersInAnyOrder_IsWhatAnUnsharedObjectSays()
    {
        var random = new Random(4);
        for (int round = 0; round < 300; round++)
        {
            string[] metadata =
            [
                "\"name\":\"a\"", "\"namespace\":\"n\"", "\"uid\":\"u\"", "\"labels\":{\"l\":\"x\"}", "\"annotations\":{\"fieldsV1\":\"no\"}",
                $"\"managedFields\":[{{\"manager\":\"m\",\"fieldsV1\":{Owned(round)}}}]", .. round % 3 == 0 ? ["\"resourceVersion\":\"5\""] : (string[])[],
            ];
            random.Shuffle(metadata);
            string[] members = [$"\"metadata\":{{{string.Join(',', metadata)}}}", "\"spec\":{\"nodeName\":\"n1\"}", "\"status\":{\"phase\":\"Running\"}"];
            random.Shuffle(members);
            string json = $"{{{string.Join(',', members)}}}";
            using var alone = Make(json);
            using var holder = Make(json);
            Assert.NotEqual(0, holder.Json.Shared.Length);
            AssertSame(alone, holder);
        }
    }

    [Fact]
    public void Owners_OfOneObjectAlone_AreNotKeptApart()
    {
        int before = SharedPieces.Shared.Count;
        long references = SharedPieces.Shared.References;
        var items = Enumerable.Range(0, 2000).Select(i => Make(Pod(i, Owned()))).ToList();
        // Two texts in one place of what was seen may not be told apart, rarely.
        Assert.InRange(SharedPieces.Shared.Count - before, 0, 2);
        foreach (var item in items) item.Release();
        Assert.Equal((before, references), (SharedPieces.Shared.Count, SharedPieces.Shared.References));
    }

    [Theory]
    // Too short to be worth it, and too deep in the object for its place to be told.
    [InlineData("""{"metadata":{"name":"a","managedFields":[{"fieldsV1":{"f:data":{}}}]}}""", 0)]
    [InlineData("""{"metadata":{"name":"a","managedFields":[{"fieldsV1":"""  , 70_000)]
    public void Owners_NotWorthIt_StayInTheObject(string start, int before)
    {
        string json = before == 0 ? start : $"{{\"data\":\"{new string('x', before)}\",{start[1..]}{Owned()}}}]}}}}";
        for (int i = 0; i < 3; i++)
        {
            using var item = Make(json);
            Assert.Equal(0, item.Json.Shared.Length);
        }
    }

    [Fact]
    public void References_OfManyThreads_EndAtNothing()
    {
        const int Threads = 4, Rounds = 25_000;
        int count = SharedPieces.Shared.Count;
        long references = SharedPieces.Shared.References, blocks = SlabAllocator.Shared.LiveBlocks;
        byte[][] common = [.. Enumerable.Range(0, 50).Select(i => Encoding.UTF8.GetBytes(Pod(i, Owned())))];
        var failures = new System.Collections.Concurrent.ConcurrentQueue<string>();
        var threads = Enumerable.Range(0, Threads).Select(thread => new Thread(() =>
        {
            var random = new Random(thread);
            var held = new StoredObject?[64];
            for (int round = 0; round < Rounds; round++)
            {
                byte[] json = common[random.Next(common.Length)];
                var item = Make(json, revision: 123);
                // Read after others may have given the same piece back.
                if (!item.Json.Text().Replace("\"resourceVersion\":\"123\",", "", StringComparison.Ordinal).AsSpan().SequenceEqual(Encoding.UTF8.GetString(json))) failures.Enqueue($"thread {thread}, round {round}");
                ref var place = ref held[random.Next(held.Length)];
                place?.Release();
                place = item;
            }
            foreach (var item in held) item?.Release();
        })).ToList();
        foreach (var thread in threads) thread.Start();
        foreach (var thread in threads) thread.Join();
        Assert.Empty(failures);
        Assert.Equal((count, references, blocks), (SharedPieces.Shared.Count, SharedPieces.Shared.References, SlabAllocator.Shared.LiveBlocks));
    }

    [Fact]
    public unsafe void Table_OfManyTexts_FindsEach_AndCountsExactly()
    {
        const int Texts = 3000;
        var slabs = new SlabAllocator();
        var pieces = new SharedPieces(slabs);
        byte[][] texts = [.. Enumerable.Range(0, Texts).Select(i => Encoding.UTF8.GetBytes($"{{\"f:{i}\":{new string('x', 200 + (i % 300))}}}"))];
        var held = new List<nint>();
        for (int i = 0; i < Texts; i++)
        {
            Assert.True(pieces.TryTake(texts[i]) is null);
            var first = pieces.TryTake(texts[i]);
            var second = pieces.TryTake(texts[i]);
            Assert.True(first == second && first->Text.SequenceEqual(texts[i]));
            held.AddRange([(nint)first, (nint)second]);
        }
        Assert.Equal((Texts, 2L * Texts, (long)Texts), (pieces.Count, pieces.References, slabs.LiveBlocks));
        for (int i = 0; i < Texts; i++)
        {
            var again = pieces.TryTake(texts[i]);
            Assert.Equal(held[2 * i], (nint)again);
            pieces.Return(again);
        }
        var random = new Random(1);
        var order = held.ToArray();
        random.Shuffle(order);
        foreach (nint piece in order) pieces.Return((SharedPiece*)piece);
        Assert.Equal((0, 0L, 0L, 0L), (pieces.Count, pieces.References, slabs.LiveBlocks, slabs.UsedBytes));
    }

    [Fact]
    public async Task Cache_OfTenThousandPods_HoldsTheirOwnersOnce_AlsoAfterAStart()
    {
        const int Pods = 10_000;
        long before = SlabAllocator.Shared.UsedBytes, references = SharedPieces.Shared.References;
        await using var host = await CacheHost.StartAsync(new CacherOptions { ReplayRevisions = 0 });
        string owned = Owned(repeat: 24);
        long encoded = 0;
        foreach (int[] some in Enumerable.Range(0, Pods).Chunk(500))
        {
            await Task.WhenAll(some.Select(async i =>
            {
                byte[] json = Encoding.UTF8.GetBytes(Pod(i, owned));
                Interlocked.Add(ref encoded, json.Length);
                (await host.Cacher.WriteAsync(AppendRequest.Create($"/registry/pods/default/pod-{i:d5}", json))).Object!.Dispose();
            }));
        }
        AssertSmall("after the writes");
        await host.RestartAsync();
        AssertSmall("after a start");

        void AssertSmall(string when)
        {
            Assert.Equal(Pods, host.Pods.Count);
            double perPod = (double)(SlabAllocator.Shared.UsedBytes - before) / Pods, json = (double)encoded / Pods;
            TestContext.Current.TestOutputHelper?.WriteLine($"{when}: {json:0} B of JSON, {owned.Length} B of owners, {perPod:0} B in blocks, {SharedPieces.Shared.References - references} holders");
            Assert.InRange(perPod, 1, ((json - owned.Length) * 1.25) + 128);
            Assert.InRange(SharedPieces.Shared.References - references, Pods - 100, Pods);
        }
    }

    [Fact]
    public void Reading_OfASharedObject_AllocatesNothing()
    {
        byte[] json = Encoding.UTF8.GetBytes(Pod(1, Owned()));
        using var first = Make(json, 7);
        using var item = Make(json, 7);
        Assert.NotEqual(0, item.Json.Shared.Length);
        var output = new System.Buffers.ArrayBufferWriter<byte>(item.Frame.Length);
        for (int round = 0; round < 2; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            long bytes = 0;
            for (int i = 0; i < 1000; i++)
            {
                output.ResetWrittenCount();
                item.Frame.WriteTo(output);
                using var whole = item.Json.Rent();
                bytes += output.WrittenCount + whole.Span.Length;
            }
            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.Equal(1000L * (item.Frame.Length + item.Json.Length), bytes);
            if (round > 0) Assert.Equal(0, allocated);
        }
    }

    private static void AssertSame(StoredObject expected, StoredObject actual)
    {
        Assert.Equal(expected.Json.Text(), actual.Json.Text());
        Assert.Equal(expected.Frame.Text(), actual.Frame.Text());
        Assert.Equal(expected.FrameEnd.Text(), actual.FrameEnd.Text());
        Assert.Equal((expected.Json.Length, expected.Frame.Length), (actual.Json.Length, actual.Frame.Length));
        Assert.Equal((expected.Key, expected.Revision, expected.CreateRevision, expected.EventType), (actual.Key, actual.Revision, actual.CreateRevision, actual.EventType));
        Assert.Equal(
            (expected.NameUtf8.Text(), expected.NamespaceUtf8.Text(), expected.UidUtf8.Text(), expected.LabelsJson.Text()),
            (actual.NameUtf8.Text(), actual.NamespaceUtf8.Text(), actual.UidUtf8.Text(), actual.LabelsJson.Text()));
        Assert.Equal(("a", "n", "u"), (actual.NameUtf8.Text(), actual.NamespaceUtf8.Text(), actual.UidUtf8.Text()));
        Assert.Equal(Enumerable.Range(0, 4).Select(i => expected.Field(i).Text()), Enumerable.Range(0, 4).Select(i => actual.Field(i).Text()));
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        actual.Frame.WriteTo(output);
        Assert.Equal(expected.Frame.Text(), Encoding.UTF8.GetString(output.WrittenSpan));
        using var whole = actual.Json.Rent();
        Assert.Equal(expected.Json.Text(), Encoding.UTF8.GetString(whole.Span));
        Assert.Equal(expected.Json.Text()[5..], actual.Json.Skip(5).Text());
        Assert.True(actual.Json.MayContain("\"nodeName\""u8) && actual.Json.MayContain("\"name\""u8));
        Assert.False(actual.Json.MayContain("\"deletionTimestamp\""u8));
    }

    // Texts of one's own, so that no test finds what another has left behind.
    private static string Owned(int salt = 0, int repeat = 6)
    {
        int number = Interlocked.Increment(ref s_owned);
        var members = Enumerable.Range(0, repeat).Select(static i => $"\"f:member-{i}\":" + """{".":{},"f:name":{},"k:{\"port\":80}":{}}""");
        return $"{{\"f:text-{number}-{salt}\":{{}},{string.Join(',', members)}}}";
    }

    private static string Pod(int i, string owned) =>
        $$$"""{"kind":"Pod","apiVersion":"v1","metadata":{"name":"pod-{{{i:d5}}}","namespace":"default","uid":"7d5f2c1e-7f0f-4f0e-9b57-{{{i:x12}}}","labels":{"app":"web"},"managedFields":[{"manager":"m","operation":"Update","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{{{owned}}}}]},"spec":{"nodeName":"n{{{i % 10}}}","data":"{{{new string('x', 900)}}}"},"status":{"phase":"Running"}}""";

    private static StoredObject Make(string json) => Make(Encoding.UTF8.GetBytes(json), 7);

    private static StoredObject Make(byte[] json, long revision) =>
        StoredObjectWriter.Create("/registry/x/n/a"u8, json, revision, 3, WatchEventType.Modified, new FieldPaths(s_fields));
}
