namespace K3sFast.WatchCache;

/// <summary>What happened, in the watch protocol's words.</summary>
public enum WatchEventType : byte
{
    /// <summary>The object came into being.</summary>
    Added,

    /// <summary>The object changed.</summary>
    Modified,

    /// <summary>The object is gone; the event carries its last state with the deletion's resourceVersion.</summary>
    Deleted,
}

/// <summary>One slot of a resource's ring, lent by a cursor until it reads on or is disposed.</summary>
public readonly struct WatchEvent
{
    internal WatchEvent(WatchEventType type, StoredObject item, StoredObject? previous)
    {
        Type = type;
        Object = item;
        Previous = previous;
    }

    /// <summary>What the commit did to the object.</summary>
    public WatchEventType Type { get; }

    /// <summary>The object after the commit; for deletions its last state with the deletion's resourceVersion.</summary>
    public StoredObject Object { get; }

    /// <summary>The object before the commit; null for <see cref="WatchEventType.Added"/>.</summary>
    public StoredObject? Previous { get; }

    /// <summary>The commit's revision.</summary>
    public long Revision => Object.Revision;

    /// <summary>
    /// The watch frame <c>{"type":…,"object":…}\n</c> for <see cref="Type"/>: encoded once, the same memory for every watcher.
    /// </summary>
    public StoredBytes Frame => Object.Frame;

    /// <summary>
    /// What a watcher with a selector sees: an update that starts to match is an addition, one that stops matching a deletion.
    /// </summary>
    /// <param name="matches">Whether <see cref="Object"/> matches the selector (for deletions: whether the last state does).</param>
    /// <param name="matchedBefore">Whether <see cref="Previous"/> did.</param>
    /// <param name="seen">The type to send.</param>
    /// <returns>False = the watcher sees nothing.</returns>
    public bool TryTranslate(bool matches, bool matchedBefore, out WatchEventType seen)
    {
        seen = Type;
        switch (Type)
        {
            case WatchEventType.Added: return matches;
            case WatchEventType.Deleted: return matchedBefore;
            default:
                seen = matches ? (matchedBefore ? WatchEventType.Modified : WatchEventType.Added) : WatchEventType.Deleted;
                return matches || matchedBefore;
        }
    }
}
