using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Recent frames of one resource in one form that is not the stored one, each encoded by the first watcher that needs it and taken by the others as it is.
/// </summary>
/// <remarks>Any thread, without locks: two watchers that come at once encode twice, and one of both frames stays.</remarks>
internal sealed class SharedFrames
{
    // More than one read of a watcher takes, so that watchers in step find each other's frames; a power of two.
    private const int Slots = 128;

    private readonly Entry?[] _entries = new Entry?[Slots];

    /// <summary>The frame of a commit as a watcher sees it; null when nobody has made it yet, or others took its place.</summary>
    internal byte[]? Find(long revision, WatchCache.WatchEventType seen)
    {
        var entry = Volatile.Read(ref _entries[revision & (Slots - 1)]);
        return entry is not null && entry.Revision == revision && entry.Seen == seen ? entry.Frame : null;
    }

    internal void Keep(long revision, WatchCache.WatchEventType seen, byte[] frame) =>
        Volatile.Write(ref _entries[revision & (Slots - 1)], new Entry(revision, seen, frame));

    private sealed record Entry(long Revision, WatchCache.WatchEventType Seen, byte[] Frame);
}

/// <summary>The forms that are being watched now, each with its frames; a form that nobody watches any more is forgotten.</summary>
internal sealed class SharedFrameTable
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly Dictionary<Form, Shared> _forms = [];

    /// <summary>The frames of a form; the caller disposes the lease at the watch's end. Null = the stored form, which needs none.</summary>
    internal Lease? Rent(ResourceEndpoint endpoint, ResponseFormat format, IncludeObject include)
    {
        if (format.IsPlainJson && endpoint.IsStorageVersion)
            return null;
        var form = new Form(endpoint, format, include);
        lock (_gate)
        {
            if (!_forms.TryGetValue(form, out var shared))
                _forms.Add(form, shared = new Shared());
            shared.Watchers++;
            return new Lease(this, form, shared.Frames);
        }
    }

    private void Return(Form form)
    {
        lock (_gate)
        {
            if (_forms.TryGetValue(form, out var shared) && --shared.Watchers == 0)
                _forms.Remove(form);
        }
    }

    /// <summary>One watcher's part in a form.</summary>
    internal sealed class Lease(SharedFrameTable table, Form form, SharedFrames frames) : IDisposable
    {
        internal SharedFrames Frames => frames;

        public void Dispose() => table.Return(form);
    }

    /// <summary>What makes two watchers' frames the same bytes.</summary>
    internal readonly record struct Form(ResourceEndpoint Endpoint, ResponseFormat Format, IncludeObject Include);

    private sealed class Shared
    {
        internal readonly SharedFrames Frames = new();
        internal int Watchers;
    }
}
