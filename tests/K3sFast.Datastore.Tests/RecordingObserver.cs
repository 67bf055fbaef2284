using System.Text;

namespace K3sFast.Datastore.Tests;

/// <summary>One change as a watch showed it.</summary>
public sealed record SeenChange(string Key, AppendKind Kind, long Revision, long CreateRevision, string Value);

/// <summary>Keeps what a watch or a range shows, and lets a test wait for a revision.</summary>
public sealed class RecordingObserver : IDatastoreObserver
{
    private readonly Lock _gate = new();
    private readonly List<SeenChange> _changes = [];
    private long _revision;
    private TaskCompletionSource _moved = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Exception? Error { get; private set; }

    public SeenChange[] Changes
    {
        get
        {
            lock (_gate) return [.. _changes];
        }
    }

    public void OnEntry(in DatastoreEntry entry)
    {
        lock (_gate) _changes.Add(new SeenChange(entry.Key, entry.Kind, entry.Revision, entry.CreateRevision, Encoding.UTF8.GetString(entry.Value)));
    }

    public void OnRevision(long revision)
    {
        lock (_gate)
        {
            Assert.True(revision >= _revision, $"progress went back from {_revision} to {revision}");
            _revision = revision;
        }
        Move();
    }

    public void OnFailed(Exception error)
    {
        lock (_gate) Error = error;
        Move();
    }

    public async Task WaitForAsync(long revision)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(120));
        while (true)
        {
            Task moved;
            lock (_gate)
            {
                if (_revision >= revision || Error is not null) return;
                moved = _moved.Task;
            }
            await moved.WaitAsync(deadline.Token);
        }
    }

    private void Move()
    {
        TaskCompletionSource moved;
        lock (_gate) (moved, _moved) = (_moved, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        moved.SetResult();
    }
}
