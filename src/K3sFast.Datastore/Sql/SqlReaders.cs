namespace K3sFast.Datastore.Sql;

/// <summary>Sessions for questions, lent one caller each. A question whose connection breaks is asked again on a new one.</summary>
internal sealed class SqlReaders(ISqlEngine engine, TimeSpan patience) : IAsyncDisposable
{
    // Lists come in bursts; a session costs the database a process or a thread.
    private const int MaxIdle = 3;

    private readonly Lock _gate = new();
    private readonly Stack<ISqlConnection> _idle = new();
    private bool _isDisposed;

    /// <summary>Asks. <paramref name="onBegin"/> is called before each try: what a broken one showed is void, and false gives up.</summary>
    public async ValueTask AskAsync(ReadOnlyMemory<SqlStatement> batch, OnRow onRow, Func<bool>? onBegin, CancellationToken cancellationToken)
    {
        long startedAt = Environment.TickCount64;
        for (var pause = TimeSpan.FromMilliseconds(20); ; pause = TimeSpan.FromTicks(Math.Min(pause.Ticks * 2, TimeSpan.TicksPerSecond)))
        {
            ISqlConnection? connection = null;
            try
            {
                connection = Take() ?? await engine.ConnectAsync(cancellationToken).ConfigureAwait(false);
                await connection.RunAsync(batch, onRow, cancellationToken).ConfigureAwait(false);
                await GiveBackAsync(connection).ConfigureAwait(false);
                return;
            }
            catch (SqlException error) when (error.Failure is SqlFailure.Lost or SqlFailure.TryAgain)
            {
                if (connection is not null) await connection.DisposeAsync().ConfigureAwait(false);
                if (Environment.TickCount64 - startedAt > patience.TotalMilliseconds || onBegin?.Invoke() is false)
                {
                    throw new DatastoreException($"reading {engine.Name} failed: {error.Message}", error);
                }
            }
            catch (SqlException error)
            {
                if (connection is not null) await connection.DisposeAsync().ConfigureAwait(false);
                throw new DatastoreException($"reading {engine.Name} failed: {error.Message}", error);
            }
            catch (Exception)
            {
                if (connection is not null) await connection.DisposeAsync().ConfigureAwait(false);
                throw;
            }
            await Task.Delay(pause, cancellationToken).ConfigureAwait(false);
        }
    }

    public async ValueTask DisposeAsync()
    {
        ISqlConnection[] idle;
        lock (_gate)
        {
            _isDisposed = true;
            idle = [.. _idle];
            _idle.Clear();
        }
        foreach (var connection in idle) await connection.DisposeAsync().ConfigureAwait(false);
    }

    private ISqlConnection? Take()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, typeof(SqlDatastore));
            return _idle.TryPop(out var connection) ? connection : null;
        }
    }

    private ValueTask GiveBackAsync(ISqlConnection connection)
    {
        lock (_gate)
        {
            if (!_isDisposed && connection.IsUsable && _idle.Count < MaxIdle)
            {
                _idle.Push(connection);
                return ValueTask.CompletedTask;
            }
        }
        return connection.DisposeAsync();
    }
}
