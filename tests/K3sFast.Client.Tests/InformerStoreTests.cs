using System.Text;
using System.Text.Json.Serialization.Metadata;
using k8s.Models;

namespace K3sFast.Client.Tests;

/// <summary>What an informer keeps beside the objects themselves, of which there may be very many.</summary>
public sealed class InformerStoreTests
{
    private const int Objects = 10_000;

    private static readonly string[] s_one = ["one"];

    [Fact]
    public void Store_OfManyObjectsKeptEncoded_TakesTwoPlacesOfFewWordsForEach()
    {
        var kept = Enumerable.Range(0, Objects).Select(static i => new Kept(new ObjectKey("namespace", $"name-{i}"))).ToArray();
        var value = new V1ConfigMap { Metadata = new V1ObjectMeta { Name = "name", NamespaceProperty = "namespace" } };
        Fill(kept[..16], value);
        var before = GC.GetAllocatedBytesForCurrentThread();
        var store = Fill(kept, value);
        var each = (GC.GetAllocatedBytesForCurrentThread() - before) / Objects;
        // Tables double: what they have let go of on the way is counted here too, and no more than what stays. An enumerator for the key of the index is not kept.
        TestContext.Current.TestOutputHelper?.WriteLine($"{each} B each");
        Assert.InRange(each, 1, 180);
        Assert.Equal(Objects, store.Count);
        Assert.True(store.TryFind(new ObjectKey("namespace", "name-7"), out var found));
        Assert.Same(kept[7], found);
        Assert.False(store.TryFind(new ObjectKey("name", "space/name-7"), out _));
        Assert.Equal(Objects, store.Under("all", "one").Count);
    }

    private static InformerStore<V1ConfigMap> Fill(Kept[] kept, V1ConfigMap value)
    {
        var store = new InformerStore<V1ConfigMap>(Resources.ConfigMaps.Type);
        store.AddIndex("all", static _ => s_one);
        foreach (var item in kept) store.Replace(null, (item, value));
        return store;
    }

    private sealed class Kept(ObjectKey key) : KeptObject<V1ConfigMap>
    {
        private readonly int _hash = ObjectKey.HashOf(Encoding.UTF8.GetBytes(key.Namespace), Encoding.UTF8.GetBytes(key.Name));

        public override ObjectKey Key => key;

        public override int KeyHash => _hash;

        public override bool IsAt(ObjectKey other) => key == other;

        public override V1ConfigMap Decode(JsonTypeInfo<V1ConfigMap> type) => throw new InvalidOperationException("nothing is decoded here");

        protected override void Dispose(bool disposing)
        {
        }
    }
}
