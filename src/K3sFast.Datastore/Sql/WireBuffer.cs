using System.Buffers;
using System.Diagnostics;

namespace K3sFast.Datastore.Sql;

/// <summary>A database connection's bytes: what is to be sent, and what was received, with a bound on every wait.</summary>
internal sealed class WireBuffer(Stream stream, TimeSpan patience) : IAsyncDisposable
{
    private const int Smallest = 16 * 1024;

    // A large value's buffer is given back when it was read.
    private const int Largest = 1 << 20;

    private byte[] _received = new byte[Smallest];
    private int _start;
    private int _end;
    private CancellationTokenSource _limit = new();

    public Stream Stream { get; private set; } = stream;

    /// <summary>What <see cref="FlushAsync"/> sends.</summary>
    public ArrayBufferWriter<byte> Out { get; } = new(Smallest);

    /// <summary>The buffer that positions of <see cref="TakeAsync"/> refer to.</summary>
    public byte[] Received => _received;

    /// <summary>True = bytes wait that were received and not taken.</summary>
    public bool HasMore => _end > _start;

    /// <summary>From here on everything goes through TLS.</summary>
    public void Secure(Stream secured)
    {
        Debug.Assert(!HasMore, "nothing may have been received before the handshake");
        Stream = secured;
    }

    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        await LimitedAsync(
            static (self, token) => new ValueTask<int>(self.WriteAllAsync(token)), cancellationToken, patience).ConfigureAwait(false);
        Out.ResetWrittenCount();
    }

    /// <summary>The position of the next bytes, which are there; valid until the next call.</summary>
    public async ValueTask<int> TakeAsync(int count, CancellationToken cancellationToken, TimeSpan? patienceOnce = null)
    {
        while (_end - _start < count) await FillAsync(count, patienceOnce ?? patience, cancellationToken).ConfigureAwait(false);
        int at = _start;
        _start += count;
        return at;
    }

    public async ValueTask DisposeAsync()
    {
        _limit.Dispose();
        await Stream.DisposeAsync().ConfigureAwait(false);
    }

    private async Task<int> WriteAllAsync(CancellationToken token)
    {
        await Stream.WriteAsync(Out.WrittenMemory, token).ConfigureAwait(false);
        await Stream.FlushAsync(token).ConfigureAwait(false);
        return 0;
    }

    private async ValueTask FillAsync(int count, TimeSpan limit, CancellationToken cancellationToken)
    {
        if (_start == _end)
        {
            _start = _end = 0;
            if (_received.Length > Largest && count <= Smallest) _received = new byte[Smallest];
        }
        if (_received.Length - _start < count)
        {
            byte[] target = _received.Length < count ? new byte[Math.Max(count, Math.Min(_received.Length * 2, Largest))] : _received;
            _received.AsSpan(_start, _end - _start).CopyTo(target);
            (_received, _end, _start) = (target, _end - _start, 0);
        }
        int read = await LimitedAsync(static (self, token) => self.Stream.ReadAsync(self._received.AsMemory(self._end), token), cancellationToken, limit).ConfigureAwait(false);
        if (read == 0) throw new SqlException(SqlFailure.Lost, "", "the database closed the connection");
        _end += read;
    }

    private async ValueTask<int> LimitedAsync(Func<WireBuffer, CancellationToken, ValueTask<int>> work, CancellationToken cancellationToken, TimeSpan limit)
    {
        if (!_limit.TryReset())
        {
            _limit.Dispose();
            _limit = new CancellationTokenSource();
        }
        _limit.CancelAfter(limit);
        using var registration = cancellationToken.UnsafeRegister(static state => ((CancellationTokenSource)state!).Cancel(), _limit);
        try
        {
            return await work(this, _limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException error) when (!cancellationToken.IsCancellationRequested)
        {
            throw new SqlException(SqlFailure.Lost, "", $"no answer within {limit.TotalSeconds:0} s", error);
        }
        catch (IOException error)
        {
            throw new SqlException(SqlFailure.Lost, "", error.Message, error);
        }
        finally
        {
            _limit.CancelAfter(Timeout.InfiniteTimeSpan);
        }
    }
}
