namespace K3sFast.WatchCache;

/// <summary>
/// A resource's objects at one revision, in key order, restricted to a prefix. Writes go on beside it. Its objects are lent until it is disposed.
/// </summary>
public sealed class Snapshot : IDisposable
{
    /// <summary>The revision whose state this is (for "now": the newest revision the caches had applied).</summary>
    public long Revision => throw new NotImplementedException();

    /// <summary>Objects from <paramref name="startKey"/> (inclusive; empty = all) to the end of the prefix.</summary>
    public int CountFrom(ReadOnlySpan<byte> startKey) => throw new NotImplementedException();

    /// <summary>Enumerates from a key (inclusive; empty = from the start), in key order. Allocates nothing.</summary>
    public Enumerator From(ReadOnlySpan<byte> startKey) => throw new NotImplementedException();

    /// <summary>Enumerates everything.</summary>
    public Enumerator GetEnumerator() => From(default);

    /// <summary>Gives the objects back.</summary>
    public void Dispose() => throw new NotImplementedException();

    /// <summary>Walks the objects in key order.</summary>
    public struct Enumerator
    {
        /// <summary>The object the walk stands at, lent until the snapshot is disposed.</summary>
        public readonly StoredObject Current => throw new NotImplementedException();

        /// <summary>Steps on; false at the end.</summary>
        public bool MoveNext() => throw new NotImplementedException();

        /// <summary>For foreach over <see cref="From"/>.</summary>
        public readonly Enumerator GetEnumerator() => this;
    }
}
