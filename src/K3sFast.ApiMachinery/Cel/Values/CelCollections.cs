namespace K3sFast.ApiMachinery;

/// <summary>A list of values.</summary>
public abstract class CelList
{
    /// <summary>Elements.</summary>
    public abstract int Count { get; }

    /// <summary>The element at that place, which exists.</summary>
    public abstract CelValue this[int index] { get; }
}

/// <summary>A map, or an object seen as one: the keys of objects are the names of the fields that are set.</summary>
public abstract class CelMap
{
    /// <summary>The name of the object's type; "" for a map.</summary>
    public virtual string TypeName => "";

    /// <summary>Members.</summary>
    public abstract int Count { get; }

    /// <summary>The keys, in order of document or insertion.</summary>
    public abstract IEnumerable<CelValue> Keys { get; }

    /// <summary>The value under that key.</summary>
    public abstract bool TryGet(CelValue key, out CelValue value);

    /// <summary>The value under a text; no key needs to be made for it.</summary>
    public virtual bool TryGet(string key, out CelValue value) => TryGet(CelValue.Of(key), out value);
}

/// <summary>A list that evaluation made.</summary>
internal sealed class CelValueList(CelValue[] values) : CelList
{
    public override int Count => values.Length;

    public override CelValue this[int index] => values[index];
}

/// <summary>A list to which a loop adds; slices of one growing store, so that adding n elements costs n.</summary>
internal sealed class CelGrowingList : CelList
{
    private readonly List<CelValue> _store;
    private readonly int _count;

    private CelGrowingList(List<CelValue> store, int count)
    {
        _store = store;
        _count = count;
    }

    public override int Count => _count;

    public override CelValue this[int index] => _store[index];

    /// <summary>The two lists after each other. The store is shared with the first when nobody added to it since.</summary>
    internal static CelValue Concat(CelList first, CelList second)
    {
        var store = first is CelGrowingList growing && growing._store.Count == growing._count ? growing._store : Copied(first, second.Count);
        int count = second.Count;
        for (int i = 0; i < count; i++)
            store.Add(second[i]);
        return CelValue.Of(new CelGrowingList(store, store.Count));
    }

    private static List<CelValue> Copied(CelList list, int more)
    {
        var store = new List<CelValue>(list.Count + more);
        for (int i = 0; i < list.Count; i++)
            store.Add(list[i]);
        return store;
    }
}

/// <summary>A map that evaluation made.</summary>
internal sealed class CelValueMap : CelMap
{
    private readonly Dictionary<CelValue, CelValue> _values;

    internal CelValueMap() => _values = new(CelKeyComparer.Instance);

    private CelValueMap(CelMap other) : this()
    {
        foreach (var key in other.Keys)
        {
            if (other.TryGet(key, out var value))
                _values.Add(key, value);
        }
    }

    public override int Count => _values.Count;

    public override IEnumerable<CelValue> Keys => _values.Keys;

    public override bool TryGet(CelValue key, out CelValue value) => _values.TryGetValue(key, out value);

    /// <summary>Adds while the map is being made; false when the key is there.</summary>
    internal bool TryAdd(CelValue key, CelValue value) => _values.TryAdd(key, value);

    internal static CelValueMap CopyOf(CelMap map) => new(map);

    /// <summary>A map from texts, as configuration and requests have them.</summary>
    internal static CelValueMap Of(params ReadOnlySpan<(string Key, CelValue Value)> members)
    {
        var map = new CelValueMap();
        foreach (var (key, value) in members)
            map.TryAdd(CelValue.Of(key), value);
        return map;
    }
}

/// <summary>An object that evaluation made of a type that expressions may make.</summary>
internal sealed class CelStruct(string typeName, Dictionary<string, CelValue> fields) : CelMap, ICelObject
{
    public override string TypeName { get; } = typeName;

    internal Dictionary<string, CelValue> Fields { get; } = fields;

    public override int Count => Fields.Count;

    public override IEnumerable<CelValue> Keys => Fields.Keys.Select(static key => CelValue.Of(key));

    public override bool TryGet(CelValue key, out CelValue value) => TryGet(key.AsString, out value);

    public override bool TryGet(string key, out CelValue value) => Fields.TryGetValue(key, out value);

    public CelValue EqualTo(CelValue other) => CelValue.Of(other.Reference is CelStruct && other.TypeName == TypeName && CelEquality.AreEqual(this, other.AsMap));
}

/// <summary>Keys of maps: numbers of any kind that mean the same are the same key.</summary>
internal sealed class CelKeyComparer : IEqualityComparer<CelValue>
{
    internal static readonly CelKeyComparer Instance = new();

    public bool Equals(CelValue x, CelValue y) => CelEquality.Equal(x, y).IsTrue;

    public int GetHashCode(CelValue value) => value.Kind switch
    {
        CelKind.Int => value.AsInt.GetHashCode(),
        CelKind.Uint => ((long)value.AsUint).GetHashCode(),
        CelKind.Double => ((long)value.AsDouble).GetHashCode(),
        CelKind.String => value.AsString.GetHashCode(StringComparison.Ordinal),
        CelKind.Bool => value.AsBool ? 1 : 2,
        _ => 0,
    };
}
