using System.Threading.Channels;
using K3sFast.FaultRig.Checking;
using K3sFast.FaultRig.Children;
using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Faults;

/// <summary>
/// Clients in this process: for stores whose faults strike behind them (a server on the network), and for several stores on one database.
/// All of them write one history.
/// </summary>
internal sealed class ClientsUnderTest : IAsyncDisposable
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    private readonly Channel<ReadOnlyMemory<byte>> _lines = Channel.CreateUnbounded<ReadOnlyMemory<byte>>(new UnboundedChannelOptions { SingleReader = true });
    private readonly CancellationTokenSource _stop = new();
    private readonly HistoryWriter _writer;
    private readonly Task _reading;
    private readonly List<(IDatastore Store, Workload Workload)> _clients = [];
    private readonly List<Watcher> _watchers = [];
    private Task _working = Task.CompletedTask;

    public ClientsUnderTest()
    {
        _writer = new HistoryWriter(bytes => _lines.Writer.TryWrite(bytes));
        _reading = Task.Run(ReadAsync);
    }

    public OperationHistory History { get; } = new();

    public List<string> Complaints { get; } = [];

    /// <summary>Adds a store with clients of its own: writers, readers and two watches.</summary>
    public void Add(IDatastore store, WorkloadOptions workload)
    {
        _clients.Add((store, new Workload(store, _writer, workload)));
        for (int i = 0; i < 2; i++) _watchers.Add(new Watcher(store, _writer, workload.Prefix, Math.Max(1, i == 0 ? store.CompactRevision : store.CurrentRevision)));
    }

    /// <summary>Adds a store that many others write to as well: its watches begin at the revision of a list.</summary>
    public async Task AddFromListAsync(IDatastore store, WorkloadOptions workload)
    {
        var client = new Workload(store, _writer, workload);
        _clients.Add((store, client));
        long revision = await client.ListAsync().ConfigureAwait(false);
        for (int i = 0; i < 3; i++) _watchers.Add(new Watcher(store, _writer, workload.Prefix, revision));
    }

    public void Start() => _working = Task.WhenAll(_clients.Select(client => client.Workload.RunAsync(_stop.Token)));

    /// <summary>All faults are over: ends writers, lists by each store, waits until every watch has seen the newest, and judges.</summary>
    public async Task<Verdict> JudgeAsync(CheckerOptions options)
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _working.WaitAsync(s_deadline).ConfigureAwait(false);
        foreach (var (_, workload) in _clients) await workload.ListAsync().ConfigureAwait(false);
        long newest = _clients.Max(client => client.Store.CurrentRevision);
        for (int i = 0; i < 6_000 && _watchers.Exists(watcher => watcher.Position < newest); i++) await Task.Delay(10).ConfigureAwait(false);
        foreach (var watcher in _watchers)
        {
            if (watcher.Position < newest) Complaints.Add($"a watch is stuck at {watcher.Position} of {newest}");
            watcher.Dispose();
        }
        foreach (var (_, workload) in _clients) await workload.ListAsync().ConfigureAwait(false);
        _writer.Flush();
        _lines.Writer.Complete();
        await _reading.ConfigureAwait(false);
        return HistoryChecker.Check(History, options);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        foreach (var watcher in _watchers) watcher.Dispose();
        _lines.Writer.TryComplete();
        await _reading.ConfigureAwait(false);
        _stop.Dispose();
    }

    private async Task ReadAsync()
    {
        var reader = new HistoryReader(History);
        await foreach (var lines in _lines.Reader.ReadAllAsync().ConfigureAwait(false))
        {
            foreach (string line in System.Text.Encoding.UTF8.GetString(lines.Span).Split('\n', StringSplitOptions.RemoveEmptyEntries)) reader.TryRead(line);
        }
    }
}
