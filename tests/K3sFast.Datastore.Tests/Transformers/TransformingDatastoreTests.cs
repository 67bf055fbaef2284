using System.Buffers;
using System.Text;
using K3sFast.Datastore.Sqlite;
using K3sFast.Datastore.Transformers;

namespace K3sFast.Datastore.Tests.Transformers;

/// <summary>The contract, with every value stored in another form.</summary>
public sealed class TransformingContractTests : DatastoreContractTests
{
    private readonly string _directory = $"/dev/shm/store-form-{Guid.NewGuid():N}";

    protected override Task<IDatastore> OpenAsync() => Task.FromResult<IDatastore>(new TransformingDatastore(
        SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/state.db" }),
        new PrefixTransformer([("k8s:enc:toy:v1:one:", new ToyTransformer(1))], static _ => true)));

    protected override void CleanUp() => Directory.Delete(_directory, recursive: true);
}

/// <summary>What is stored, what is seen, and what is refused.</summary>
public sealed class TransformingDatastoreTests : IDisposable
{
    private readonly string _directory = $"/dev/shm/store-form-{Guid.NewGuid():N}";

    private string DatabasePath => $"{_directory}/state.db";

    [Fact]
    public async Task Append_CoveredKey_IsStoredInItsForm_AndSeenPlain()
    {
        await using (var store = Open(One))
        {
            var live = new RecordingObserver();
            using var watch = store.Watch(store.CurrentRevision, live);
            await store.AppendAsync(AppendRequest.Create("/registry/secrets/a", "secret"u8.ToArray()));
            await store.AppendAsync(AppendRequest.Create("/registry/configmaps/a", "plain"u8.ToArray()));
            Assert.Equal(["secret", "plain"], live.Changes.Select(change => change.Value));
            Assert.Equal(["plain", "secret"], await ValuesAsync(store));
            var history = new RecordingObserver();
            using var late = store.Watch(1, history);
            await late.CaughtUp.WaitAsync(TimeSpan.FromSeconds(60));
            Assert.Equal(["secret", "plain"], history.Changes.Select(change => change.Value));
        }
        using var raw = SqliteConnection.Open(DatabasePath, 0);
        string stored = raw.QueryText("SELECT CAST(value AS TEXT) FROM kine WHERE name = '/registry/secrets/a'"u8)!;
        Assert.StartsWith("k8s:enc:toy:v1:one:", stored, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", stored);
        Assert.Equal("plain", raw.QueryText("SELECT CAST(value AS TEXT) FROM kine WHERE name = '/registry/configmaps/a'"u8));
    }

    [Fact]
    public async Task Keys_Rotated_OldOnesAreReadAndTheNewOneWrites()
    {
        await using (var store = Open(One)) await store.AppendAsync(AppendRequest.Create("/registry/secrets/old", "old"u8.ToArray()));
        await using (var store = Open(("k8s:enc:toy:v1:two:", new ToyTransformer(2)), One))
        {
            await store.AppendAsync(AppendRequest.Create("/registry/secrets/new", "new"u8.ToArray()));
            Assert.Equal(["new", "old"], await ValuesAsync(store));
        }
        // Encryption switched off again: the plain form writes, the others are still read.
        await using (var store = Open(("", new Plain()), ("k8s:enc:toy:v1:two:", new ToyTransformer(2)), One))
        {
            await store.AppendAsync(AppendRequest.Create("/registry/secrets/plain", "plain"u8.ToArray()));
            Assert.Equal(["new", "old", "plain"], await ValuesAsync(store));
        }
        using var raw = SqliteConnection.Open(DatabasePath, 0);
        Assert.Equal("plain", raw.QueryText("SELECT CAST(value AS TEXT) FROM kine WHERE name = '/registry/secrets/plain'"u8));
    }

    [Fact]
    public async Task Read_WithoutTheKey_IsRefusedByNameAndPrefix()
    {
        await using (var store = Open(One)) await store.AppendAsync(AppendRequest.Create("/registry/secrets/a", "secret"u8.ToArray()));
        await using (var store = new TransformingDatastore(SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath }), null))
        {
            var error = await Assert.ThrowsAsync<DatastoreTransformException>(() => ValuesAsync(store));
            Assert.StartsWith("unable to transform key \"/registry/secrets/a\": identity transformer tried to read encrypted data (stored as k8s:enc:toy:v1:one:)", error.Message, StringComparison.Ordinal);
            var seen = new RecordingObserver();
            using var watch = store.Watch(1, seen);
            await seen.WaitForAsync(2);
            Assert.IsType<DatastoreTransformException>(seen.Error);
            Assert.Empty(seen.Changes);
        }
        await using (var store = Open(("k8s:enc:toy:v1:two:", new ToyTransformer(2)), ("", new Plain())))
        {
            var error = await Assert.ThrowsAsync<DatastoreTransformException>(() => ValuesAsync(store));
            Assert.StartsWith("unable to transform key \"/registry/secrets/a\": no matching prefix found (stored as k8s:enc:toy:v1:one:)", error.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>The key is associated data: a stored value that somebody puts under another key is not taken for that key's.</summary>
    [Fact]
    public async Task Read_ValueMovedToAnotherKey_IsRefused()
    {
        var stored = new ArrayBufferWriter<byte>();
        Transformer(One).Encode("/registry/secrets/a"u8, "secret"u8, stored);
        await using (var plain = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath }))
        {
            await plain.AppendAsync(AppendRequest.Create("/registry/secrets/b", stored.WrittenMemory));
        }
        await using var store = Open(One);
        Assert.Contains("/registry/secrets/b", (await Assert.ThrowsAsync<DatastoreTransformException>(() => ValuesAsync(store))).Message);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private static (string, IValueTransformer) One => ("k8s:enc:toy:v1:one:", new ToyTransformer(1));

    private static PrefixTransformer Transformer(params (string, IValueTransformer)[] forms) => new(forms, static key => key.StartsWith("/registry/secrets/", StringComparison.Ordinal));

    private TransformingDatastore Open(params (string, IValueTransformer)[] forms) =>
        new(SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath }), Transformer(forms));

    private static async Task<IEnumerable<string>> ValuesAsync(IDatastore store)
    {
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/registry/"), seen);
        return seen.Changes.Select(change => change.Value);
    }

    private sealed class Plain : IValueTransformer
    {
        public bool Covers(ReadOnlySpan<byte> key) => true;

        public void Encode(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, IBufferWriter<byte> stored) => stored.Write(value);

        public bool Recognizes(ReadOnlySpan<byte> stored) => true;

        public void Decode(ReadOnlySpan<byte> key, ReadOnlySpan<byte> stored, IBufferWriter<byte> value) => value.Write(stored);
    }
}

/// <summary>No cipher, but it behaves like one: a sum over key and value first, then the value with all bits turned by a secret.</summary>
internal sealed class ToyTransformer(byte secret) : IValueTransformer
{
    public bool Covers(ReadOnlySpan<byte> key) => true;

    public void Encode(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, IBufferWriter<byte> stored)
    {
        stored.Write(BitConverter.GetBytes(SumOf(key, value)));
        foreach (byte one in value) stored.Write([(byte)(one ^ 0xa5 ^ secret)]);
    }

    public bool Recognizes(ReadOnlySpan<byte> stored) => true;

    public void Decode(ReadOnlySpan<byte> key, ReadOnlySpan<byte> stored, IBufferWriter<byte> value)
    {
        byte[] plain = [.. stored[4..].ToArray().Select(one => (byte)(one ^ 0xa5 ^ secret))];
        if (SumOf(key, plain) != BitConverter.ToUInt32(stored)) throw new DatastoreTransformException($"unable to transform key \"{Encoding.UTF8.GetString(key)}\": the sum is wrong");
        value.Write(plain);
    }

    private uint SumOf(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        uint sum = secret;
        foreach (byte one in key) sum = (sum * 31) + one;
        foreach (byte one in value) sum = (sum * 31) + one;
        return sum;
    }
}
