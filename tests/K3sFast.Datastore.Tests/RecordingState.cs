using System.Collections.Concurrent;
using System.Text;

namespace K3sFast.Datastore.Tests;

/// <summary>Keeps what a read of a whole state shows, part by part.</summary>
internal sealed class RecordingState
{
    private readonly ConcurrentDictionary<int, SeenChange> _byRank = [];
    private int _parts;

    /// <summary>Threads that read.</summary>
    public int Parts => _parts;

    /// <summary>What was shown, by rank.</summary>
    public SeenChange[] Shown => [.. _byRank.OrderBy(static shown => shown.Key).Select(static shown => shown.Value)];

    public static async Task<RecordingState> ReadAsync(IDatastore store, string prefix, long revision, Action? beforeRows = null)
    {
        var state = new RecordingState();
        await store.StateReader!.ReadStateAsync(prefix, revision, ranks =>
        {
            if (state._parts++ == 0) beforeRows?.Invoke();
            return new Part(state, ranks);
        });
        return state;
    }

    private sealed class Part(RecordingState owner, int ranks) : IDatastoreVisitor
    {
        public void OnEntry(in DatastoreEntry entry)
        {
            Assert.InRange(entry.Rank, 0, ranks - 1);
            var seen = new SeenChange(entry.Key, entry.Kind, entry.Revision, entry.CreateRevision, Encoding.UTF8.GetString(entry.Value));
            Assert.True(owner._byRank.TryAdd(entry.Rank, seen), $"{entry.Key} has the rank of another");
        }
    }
}
