using System.Globalization;
using K3sFast.Datastore.Sqlite;
using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Children;

/// <summary>
/// The process that faults hit: one life of a store under clients. Tells its parent the history on standard output, and <c>open</c>,
/// <c>refused failure message</c>, <c>stopped</c>; ends in order when its standard input does or says so.
/// </summary>
internal static class StoreChild
{
    public const int RefusedToOpen = 3;

    public static async Task<int> RunAsync(string[] args)
    {
        var arguments = new ChildArguments(args);
        using var output = Console.OpenStandardOutput();
        var history = new HistoryWriter(bytes => output.Write(bytes.Span));
        IDatastore store;
        try
        {
            store = arguments.Engine == "kine"
                ? KineStore.Open(arguments.Path)
                : SqliteDatastore.Open(new SqliteDatastoreOptions
                {
                    Path = arguments.Path,
                    CompactInterval = TimeSpan.Zero,
                    MaxLogPages = arguments.MaxLogPages,
                    Pace = arguments.IsFlushedBeside ? new FlushPace(TimeSpan.Zero, isAlwaysBeside: true) : null,
                });
        }
        catch (DatastoreOpenException error)
        {
            history.Tell($"refused {error.Failure} {error.Message}");
            return RefusedToOpen;
        }
        await using (store)
        {
            await LiveAsync(store, history, arguments).ConfigureAwait(false);
        }
        history.Tell("stopped");
        return 0;
    }

    private static async Task LiveAsync(IDatastore store, HistoryWriter history, ChildArguments arguments)
    {
        using var stop = new CancellationTokenSource();
        _ = Task.Run(() => FlushForeverAsync(history));
        var workload = new Workload(store, history, arguments.Workload);
        // The whole log that is there, a list, and watches that go on where those of the life before were.
        var watchers = new List<Watcher> { new(store, history, arguments.Workload.Prefix, Math.Max(1, store.CompactRevision)) };
        foreach (long after in arguments.Resume) watchers.Add(new Watcher(store, history, arguments.Workload.Prefix, Math.Min(after, store.CurrentRevision)));
        await workload.ListAsync().ConfigureAwait(false);
        history.Tell(string.Create(CultureInfo.InvariantCulture, $"open {store.CurrentRevision} {store.CompactRevision}"));
        var working = workload.RunAsync(stop.Token);
        await Console.In.ReadLineAsync(CancellationToken.None).ConfigureAwait(false);
        await stop.CancelAsync().ConfigureAwait(false);
        await working.ConfigureAwait(false);
        await workload.ListAsync().ConfigureAwait(false);
        long current = store.CurrentRevision;
        // 30 s for all of them: a loaded machine may be slow.
        for (int i = 0; i < 3_000 && watchers.Exists(IsBehind); i++) await Task.Delay(10).ConfigureAwait(false);
        foreach (var watcher in watchers)
        {
            if (IsBehind(watcher)) history.Tell(string.Create(CultureInfo.InvariantCulture, $"stuck watch at {watcher.Position} of {current}"));
            watcher.Dispose();
        }

        bool IsBehind(Watcher watcher) => watcher.Position < current && !watcher.IsToldOfDamage;
    }

    private static async Task FlushForeverAsync(HistoryWriter history)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(2));
        while (await timer.WaitForNextTickAsync().ConfigureAwait(false)) history.Flush();
    }
}
