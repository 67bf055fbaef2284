using System.Text;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Crash;

/// <summary>
/// A process that appends until it is killed. Writes one line per answer: <c>ack revision key</c> after the store said so, or
/// <c>error key</c>. Its parent believes the lines and checks the file.
/// </summary>
internal static class AppenderChild
{
    public static async Task<int> RunAsync(string path, int writers)
    {
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = path });
        var output = Console.OpenStandardOutput();
        var gate = new Lock();
        Say($"open {store.CurrentRevision}");
        await Task.WhenAll(Enumerable.Range(0, writers).Select(writer => Task.Run(() => AppendForeverAsync(writer))));
        return 0;

        async Task AppendForeverAsync(int writer)
        {
            for (int i = 0; ; i++)
            {
                string key = $"/crash/{Environment.ProcessId}/{writer}/{i}";
                try
                {
                    var result = await store.AppendAsync(AppendRequest.Create(key, Encoding.UTF8.GetBytes(key)));
                    Say($"ack {result.Revision} {key}");
                }
                catch (DatastoreException)
                {
                    Say($"error {key}");
                    await Task.Delay(20);
                }
            }
        }

        void Say(string line)
        {
            // One write(2) per line: what the parent read was said whole.
            lock (gate) output.Write(Encoding.UTF8.GetBytes(line + "\n"));
        }
    }
}
