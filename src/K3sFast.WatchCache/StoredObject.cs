namespace K3sFast.WatchCache;

/// <summary>Reads a typed object from its JSON.</summary>
public delegate T StoredObjectDecoder<out T>(ReadOnlySpan<byte> json) where T : class;

/// <summary>An immutable object: encoded bytes with the resourceVersion in place, and the few fields that a server needs.</summary>
public sealed class StoredObject : IDisposable
{
    /// <summary>The object's JSON, canonical, with metadata.resourceVersion.</summary>
    public ReadOnlySpan<byte> Json => throw new NotImplementedException();

    /// <summary>The watch frame for the event that made this revision.</summary>
    public ReadOnlySpan<byte> Frame => throw new NotImplementedException();

    /// <summary>The JSON and what closes a frame after it: a frame of another type is <see cref="FrameStart"/> and this.</summary>
    public ReadOnlySpan<byte> FrameEnd => throw new NotImplementedException();

    /// <summary>The opening bytes of a frame of a type: <c>{"type":"ADDED","object":</c>.</summary>
    public static ReadOnlySpan<byte> FrameStart(WatchEventType type) => throw new NotImplementedException();

    /// <summary>The revision: metadata.resourceVersion as a number.</summary>
    public long Revision => throw new NotImplementedException();

    /// <summary>The revision of the object's creation.</summary>
    public long CreateRevision => throw new NotImplementedException();

    /// <summary>The datastore key. Makes a string.</summary>
    public string Key => throw new NotImplementedException();

    /// <summary>The datastore key.</summary>
    public ReadOnlySpan<byte> KeyUtf8 => throw new NotImplementedException();

    /// <summary>metadata.namespace; empty for cluster-scoped objects.</summary>
    public ReadOnlySpan<byte> NamespaceUtf8 => throw new NotImplementedException();

    /// <summary>metadata.name.</summary>
    public ReadOnlySpan<byte> NameUtf8 => throw new NotImplementedException();

    /// <summary>metadata.uid.</summary>
    public ReadOnlySpan<byte> UidUtf8 => throw new NotImplementedException();

    /// <summary>metadata.labels as a JSON object; empty when there are none.</summary>
    public ReadOnlySpan<byte> LabelsJson => throw new NotImplementedException();

    /// <summary>The value of the resource's selectable field number <paramref name="index"/> (order as registered), decoded; empty when absent.</summary>
    public ReadOnlySpan<byte> Field(int index) => throw new NotImplementedException();

    /// <summary>The typed object, decoded at most once while anybody holds it. It is shared: never change it.</summary>
    public T Decode<T>(StoredObjectDecoder<T> decoder) where T : class => throw new NotImplementedException();

    /// <summary>Takes one more reference: before handing the object to another thread or keeping it.</summary>
    public void Retain() => throw new NotImplementedException();

    /// <summary>Gives one reference back. The last one frees the bytes.</summary>
    public void Release() => throw new NotImplementedException();

    /// <summary>Same as <see cref="Release"/>.</summary>
    public void Dispose() => Release();
}
