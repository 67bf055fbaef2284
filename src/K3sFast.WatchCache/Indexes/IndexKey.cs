using System.Runtime.InteropServices;

namespace K3sFast.WatchCache;

/// <summary>
/// What narrows a list or a watch to a few objects of its resource: a namespace, one object, or the value of an indexed field or label. A key is a hash:
/// two values may share one, so who looks something up by it still has to compare. The default is no key: everything.
/// </summary>
[StructLayout(LayoutKind.Auto)]
public readonly record struct IndexKey
{
    /// <summary>Kinds of keys there can be in one resource; a bit of a mask each.</summary>
    internal const int Kinds = 16;

    /// <summary>Keys of everything in a namespace.</summary>
    internal const int NamespaceKind = 1;

    /// <summary>Keys of one object.</summary>
    internal const int ObjectKind = 2;

    /// <summary>The first kind of the indexed fields and labels, in their order.</summary>
    internal const int FirstIndexKind = 3;

    private readonly ulong _value;

    private IndexKey(ulong value) => _value = value;

    /// <summary>No key.</summary>
    public bool IsNone => _value == 0;

    internal int Kind => (int)(_value >> 32);

    internal static IndexKey Of(int kind, ReadOnlySpan<byte> value)
    {
        var hash = default(HashCode);
        hash.AddBytes(value);
        return new IndexKey(((ulong)kind << 32) | (uint)hash.ToHashCode());
    }
}

/// <summary>By what the objects of a resource are looked up, besides their key. Few: each costs a list or two bytes of every object.</summary>
/// <param name="Fields">Selectable field paths: <c>spec.nodeName</c>. Objects without a value are not looked up.</param>
/// <param name="Labels">Label names: <c>kubernetes.io/service-name</c>.</param>
public sealed record ResourceIndexes(IReadOnlyList<string> Fields, IReadOnlyList<string> Labels)
{
    /// <summary>Only by key.</summary>
    public static ResourceIndexes None { get; } = new([], []);
}
