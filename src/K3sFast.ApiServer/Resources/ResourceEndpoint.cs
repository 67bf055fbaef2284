using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>One resource in one served version, with the place where its objects are kept (null for resources that are only questions).</summary>
internal sealed class ResourceEndpoint(ResourceInfo info, ResourceStorage? storage)
{
    internal ResourceInfo Info { get; } = info;

    internal ResourceStorage? Storage { get; } = storage;

    /// <summary>Objects go out as they are stored.</summary>
    internal bool IsStorageVersion { get; } = storage is not null && ReferenceEquals(storage.Info, info);

    /// <summary>Counts the events that watchers of this version are sent; null counts none.</summary>
    internal WatchSeries? Watched { get; set; }

    /// <summary>Where its lists are counted.</summary>
    internal ListSeries? Listed { get; set; }

    internal bool HasVerb(string verb) => Array.IndexOf(Info.Verbs, verb) >= 0;
}
