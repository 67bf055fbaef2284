using System.Globalization;
using System.Text;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Crash;

/// <summary>
/// A process that keeps a store busy at everything it does: eight writers replace large values of few keys, history is compacted, free
/// pages are given back. Says <c>ack revision key</c> after the store said so. Ends by being killed.
/// </summary>
internal static class ChurnChild
{
    public static async Task<int> RunAsync(string path, bool isFlushedBeside)
    {
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = path, Pace = isFlushedBeside ? new FlushPace(TimeSpan.Zero, isAlwaysBeside: true) : null });
        var output = Console.OpenStandardOutput();
        var gate = new Lock();
        using var enough = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        using var pause = new SemaphoreSlim(1);
        var writers = Enumerable.Range(0, 8).Select(writer => Task.Run(() => WriteAsync(writer))).ToArray();
        // So much history at once leaves enough free pages for them to be given back.
        const int Revisions = 700;
        while (!enough.IsCancellationRequested)
        {
            await Task.Delay(20);
            if (store.CurrentRevision - store.CompactRevision < Revisions) continue;
            // Writers take the pages that compaction frees: on a loaded machine as fast as it frees them, and none are left to be given back.
            await pause.WaitAsync();
            await store.CompactAsync(store.CurrentRevision);
            pause.Release();
        }
        await Task.WhenAll(writers);
        return 0;

        async Task WriteAsync(int writer)
        {
            byte[] value = new byte[20_000];
            string key = string.Create(CultureInfo.InvariantCulture, $"/churn/{Environment.ProcessId}/{writer}");
            var result = await store.AppendAsync(AppendRequest.Create(key, value));
            while (!enough.IsCancellationRequested)
            {
                // One write(2) per line: what the parent read was said whole.
                lock (gate) output.Write(Encoding.UTF8.GetBytes($"ack {result.Revision} {key}\n"));
                if (pause.CurrentCount == 0)
                {
                    await pause.WaitAsync();
                    pause.Release();
                }
                result = await store.AppendAsync(AppendRequest.Update(key, result.Revision, value));
            }
        }
    }
}
