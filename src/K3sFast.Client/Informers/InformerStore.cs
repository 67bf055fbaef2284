using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Serialization.Metadata;
using k8s;
using k8s.Models;

namespace K3sFast.Client;

/// <summary>
/// An informer's objects by key and by the keys of its indexes. What is stored is the object, or its encoded form, and knows its own key: a place here costs
/// two words, and a place under an index as much. Guarded by its informer's lock.
/// </summary>
internal sealed class InformerStore<T> where T : class, IKubernetesObject<V1ObjectMeta>
{
    private readonly JsonTypeInfo<T> _type;

    // Each a T, or a KeptObject<T>.
    private readonly HashSet<object> _objects = new(KeyComparer.Instance);
    private readonly HashSet<object>.AlternateLookup<ObjectKey> _byKey;
    private readonly Dictionary<string, ObjectIndex> _indexes = [];

    internal InformerStore(JsonTypeInfo<T> type)
    {
        _type = type;
        _byKey = _objects.GetAlternateLookup<ObjectKey>();
    }

    internal int Count => _objects.Count;

    /// <summary>All that is stored, in no order.</summary>
    public HashSet<object>.Enumerator GetEnumerator() => _objects.GetEnumerator();

    internal static ObjectKey KeyOf(object stored) => stored is KeptObject<T> kept ? kept.Key : ObjectKey.Of((T)stored);

    /// <summary>The object, decoded where it is kept encoded.</summary>
    internal T ValueOf(object stored) => stored as T ?? ((KeptObject<T>)stored).Decode(_type);

    internal bool TryFind(ObjectKey key, [NotNullWhen(true)] out object? stored) => _byKey.TryGetValue(key, out stored);

    internal void AddIndex(string name, Func<T, IEnumerable<string>> keys)
    {
        var index = new ObjectIndex(keys);
        foreach (var stored in _objects) index.Add(stored, ValueOf(stored));
        _indexes[name] = index;
    }

    /// <summary>What is under a key of an index, in no order.</summary>
    internal IReadOnlyCollection<object> Under(string index, string key) =>
        _indexes.TryGetValue(index, out var found) ? found.Under(key) : throw new ArgumentException($"no index named {index}", nameof(index));

    /// <summary>The object of a key, if it is there and under a key of an index.</summary>
    internal bool TryFindUnder(string index, string indexKey, ObjectKey key, [NotNullWhen(true)] out object? stored) =>
        TryFind(key, out stored) && _indexes.TryGetValue(index, out var found) && found.Contains(indexKey, stored);

    /// <summary>Puts the newest state of an object in the place of an older one; either may be missing.</summary>
    internal void Replace((object Stored, T Value)? old, (object Stored, T Value)? now)
    {
        if (old is { } before) _objects.Remove(before.Stored);
        if (now is { } after) _objects.Add(after.Stored);
        foreach (var index in _indexes.Values)
        {
            if (old is { } left) index.Remove(left.Stored, left.Value);
            if (now is { } came) index.Add(came.Stored, came.Value);
        }
    }

    /// <summary>Objects by a derived key.</summary>
    private sealed class ObjectIndex(Func<T, IEnumerable<string>> keys)
    {
        private readonly Dictionary<string, HashSet<object>> _entries = [];

        internal IReadOnlyCollection<object> Under(string key) => _entries.TryGetValue(key, out var found) ? found : [];

        internal bool Contains(string key, object stored) => _entries.TryGetValue(key, out var found) && found.Contains(stored);

        internal void Add(object stored, T value)
        {
            foreach (var key in keys(value))
            {
                if (!_entries.TryGetValue(key, out var set)) _entries[key] = set = new HashSet<object>(ReferenceEqualityComparer.Instance);
                set.Add(stored);
            }
        }

        internal void Remove(object stored, T value)
        {
            foreach (var key in keys(value))
            {
                if (_entries.TryGetValue(key, out var set) && set.Remove(stored) && set.Count == 0) _entries.Remove(key);
            }
        }
    }

    /// <summary>Objects are the same here when their keys are.</summary>
    private sealed class KeyComparer : IEqualityComparer<object>, IAlternateEqualityComparer<ObjectKey, object>
    {
        internal static readonly KeyComparer Instance = new();

        public new bool Equals(object? x, object? y) => ReferenceEquals(x, y) || (x is not null && y is not null && Equals(KeyOf(x), y));

        public int GetHashCode(object obj) => obj is KeptObject<T> kept ? kept.KeyHash : ObjectKey.Of((T)obj).Utf8Hash();

        public bool Equals(ObjectKey alternate, object other) => other is KeptObject<T> kept ? kept.IsAt(alternate) : ObjectKey.Of((T)other) == alternate;

        public int GetHashCode(ObjectKey alternate) => alternate.Utf8Hash();

        public object Create(ObjectKey alternate) => throw new NotSupportedException("a key alone is no object");
    }
}
