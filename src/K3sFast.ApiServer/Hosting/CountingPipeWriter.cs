using System.IO.Pipelines;

namespace K3sFast.ApiServer;

/// <summary>A connection's or stream's writer that counts what goes through it; reused for one answer after the other.</summary>
internal sealed class CountingPipeWriter : PipeWriter
{
    private PipeWriter _inner = null!;

    /// <summary>Bytes since <see cref="Begin"/>.</summary>
    internal long Count { get; private set; }

    public override bool CanGetUnflushedBytes => _inner.CanGetUnflushedBytes;

    public override long UnflushedBytes => _inner.UnflushedBytes;

    internal void Begin(PipeWriter inner)
    {
        _inner = inner;
        Count = 0;
    }

    public override void Advance(int bytes)
    {
        Count += bytes;
        _inner.Advance(bytes);
    }

    public override Memory<byte> GetMemory(int sizeHint = 0) => _inner.GetMemory(sizeHint);

    public override Span<byte> GetSpan(int sizeHint = 0) => _inner.GetSpan(sizeHint);

    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => _inner.FlushAsync(cancellationToken);

    public override ValueTask<FlushResult> WriteAsync(ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default)
    {
        Count += source.Length;
        return _inner.WriteAsync(source, cancellationToken);
    }

    public override void CancelPendingFlush() => _inner.CancelPendingFlush();

    public override void Complete(Exception? exception = null) => _inner.Complete(exception);

    public override ValueTask CompleteAsync(Exception? exception = null) => _inner.CompleteAsync(exception);
}
