using System.Threading.Tasks.Sources;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// One append on its way through the writer: a reusable awaitable. The caller's thread fills it, the writer thread decides it, and a
/// pool thread runs the caller's continuation, so that the writer never runs foreign code. Rented from and returned to <see cref="Pool"/>.
/// </summary>
internal sealed class PendingAppend : IValueTaskSource<AppendResult>, IThreadPoolWorkItem
{
    private readonly Pool _pool;
    private ManualResetValueTaskSourceCore<AppendResult> _core;

    private PendingAppend(Pool pool) => _pool = pool;

    /// <summary>The change. Its value belongs to the caller until completion.</summary>
    public AppendRequest Request { get; private set; }

    /// <summary>Set by the writer before completion.</summary>
    public AppendResult Result { get; set; }

    /// <summary>Set by the writer: the key's create revision after the change.</summary>
    public long CreateRevision { get; set; }

    /// <summary>Set by the writer when the group failed.</summary>
    public Exception? Error { get; set; }

    public ValueTask<AppendResult> Task => new(this, _core.Version);

    /// <summary>Completes on a pool thread.</summary>
    public void Complete() => ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);

    void IThreadPoolWorkItem.Execute()
    {
        if (Error is { } error) _core.SetException(error);
        else _core.SetResult(Result);
    }

    AppendResult IValueTaskSource<AppendResult>.GetResult(short token)
    {
        try
        {
            return _core.GetResult(token);
        }
        finally
        {
            _core.Reset();
            Request = default;
            Error = null;
            _pool.Return(this);
        }
    }

    ValueTaskSourceStatus IValueTaskSource<AppendResult>.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource<AppendResult>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);

    /// <summary>A bounded stack of idle ones.</summary>
    internal sealed class Pool
    {
        // As many as a busy API server has writes in flight (its limit is 200).
        private const int MaxIdle = 256;

        private readonly Lock _gate = new();
        private readonly Stack<PendingAppend> _idle = new();

        public PendingAppend Rent(in AppendRequest request)
        {
            PendingAppend? pending;
            lock (_gate) _idle.TryPop(out pending);
            pending ??= new PendingAppend(this);
            pending.Request = request;
            return pending;
        }

        public void Return(PendingAppend pending)
        {
            lock (_gate)
            {
                if (_idle.Count < MaxIdle) _idle.Push(pending);
            }
        }
    }
}
