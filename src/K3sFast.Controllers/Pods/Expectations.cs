using K3sFast.Client;

namespace K3sFast.Controllers;

/// <summary>
/// What an owner has asked for and the informer has not shown yet: until it has, the owner's pods must not be counted again. Any thread.
/// </summary>
internal sealed class Expectations(TimeProvider time)
{
    // An event that never comes must not stop an owner for ever (upstream's ExpectationsTimeout).
    private static readonly TimeSpan s_timeout = TimeSpan.FromMinutes(5);

    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly Dictionary<ObjectKey, Expected> _expected = [];

    /// <summary>Nothing is awaited, or it was awaited too long.</summary>
    internal bool AreSatisfied(ObjectKey key)
    {
        lock (_gate)
        {
            return !_expected.TryGetValue(key, out var expected)
                || (expected.Creations <= 0 && expected.Deletions.Count == 0)
                || time.GetElapsedTime(expected.Since) > s_timeout;
        }
    }

    /// <summary>Starts over: so many creations, and the deletion of these uids.</summary>
    internal void Expect(ObjectKey key, int creations, IEnumerable<string> deletions)
    {
        lock (_gate) _expected[key] = new Expected { Creations = creations, Deletions = [.. deletions], Since = time.GetTimestamp() };
    }

    /// <summary>A creation was seen, or failed and will not be.</summary>
    internal void CreationObserved(ObjectKey key, int count = 1)
    {
        lock (_gate)
        {
            if (_expected.TryGetValue(key, out var expected)) expected.Creations -= count;
        }
    }

    /// <summary>A deletion was seen, or failed and will not be.</summary>
    internal void DeletionObserved(ObjectKey key, string uid)
    {
        lock (_gate)
        {
            if (_expected.TryGetValue(key, out var expected)) expected.Deletions.Remove(uid);
        }
    }

    /// <summary>The owner is gone.</summary>
    internal void Forget(ObjectKey key)
    {
        lock (_gate) _expected.Remove(key);
    }

    private sealed class Expected
    {
        internal int Creations { get; set; }

        internal required HashSet<string> Deletions { get; init; }

        internal long Since { get; init; }
    }
}
