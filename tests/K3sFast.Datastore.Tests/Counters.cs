using System.Globalization;
using System.Text;

namespace K3sFast.Datastore.Tests;

/// <summary>Four writers that count up a key each through one store, while faults strike it; another store tells them, and the test, what is there.</summary>
internal sealed class Counters(IDatastore store, IDatastore witness)
{
    private const int Writers = 4;

    /// <summary>Counts until told to stop. Returns the value that must be there for each key.</summary>
    public Task<(string Key, int Value)[]> StartAsync(CancellationToken enough) =>
        Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Run(() => CountAsync($"/n/{writer}", enough))));

    /// <summary>What was acknowledged is there once, and the watch of all keys saw each step once and in order.</summary>
    public async Task VerifyAsync((string Key, int Value)[] counts, RecordingObserver seen)
    {
        var now = new RecordingObserver();
        await witness.RangeAsync(new RangeRequest("/n/"), now);
        await seen.WaitForAsync(await witness.ReadCurrentRevisionAsync());
        foreach (var (key, value) in counts)
        {
            Assert.Equal(value, int.Parse(Assert.Single(now.Changes, change => change.Key == key).Value, CultureInfo.InvariantCulture));
            Assert.Equal(
                Enumerable.Range(1, value),
                seen.Changes.Where(change => change.Key == key).Select(change => int.Parse(change.Value, CultureInfo.InvariantCulture)));
        }
    }

    private async Task<(string Key, int Value)> CountAsync(string key, CancellationToken enough)
    {
        int value = 0;
        long revision = 0;
        while (!enough.IsCancellationRequested)
        {
            byte[] next = Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{value + 1}"));
            try
            {
                var result = await store.AppendAsync(revision == 0 ? AppendRequest.Create(key, next) : AppendRequest.Update(key, revision, next));
                // Nobody else writes this key: only a write of ours that was not acknowledged can have moved it.
                Assert.Equal(AppendOutcome.Committed, result.Outcome);
                (revision, value) = (result.Revision, value + 1);
            }
            catch (DatastoreException)
            {
                if (await LookAsync(key) is not { } found) continue;
                int there = int.Parse(found.Value, CultureInfo.InvariantCulture);
                Assert.InRange(there, value, value + 1);
                (revision, value) = (found.Revision, there);
            }
        }
        return (key, value);
    }

    /// <summary>What is there now; asked until the witness answers, which may be struck as well.</summary>
    private async Task<SeenChange?> LookAsync(string key)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        while (true)
        {
            try
            {
                var present = new RecordingObserver();
                await witness.RangeAsync(new RangeRequest(key), present, limit.Token);
                return present.Changes.SingleOrDefault();
            }
            catch (DatastoreException) when (!limit.IsCancellationRequested)
            {
                await Task.Delay(50, limit.Token);
            }
        }
    }
}
