using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>What became of a write: the object's canonical JSON with its resourceVersion, and whether it is new or gone. Whoever gets it disposes it.</summary>
internal readonly struct WriteAnswer : IDisposable
{
    private readonly StoredObject? _stored;
    private readonly byte[]? _text;

    /// <summary>Over a stored object, whose reference passes to the answer.</summary>
    internal WriteAnswer(StoredObject stored, bool isCreated = false, bool isDeleted = false)
    {
        _stored = stored;
        IsCreated = isCreated;
        IsDeleted = isDeleted;
    }

    /// <summary>Over bytes that were never stored (dry run).</summary>
    internal WriteAnswer(byte[] text, bool isCreated = false, bool isDeleted = false)
    {
        _text = text;
        IsCreated = isCreated;
        IsDeleted = isDeleted;
    }

    internal bool IsCreated { get; }

    internal bool IsDeleted { get; }

    internal StoredBytes Json => _stored is null ? new StoredBytes(_text) : _stored.Json;

    public void Dispose() => _stored?.Dispose();
}
