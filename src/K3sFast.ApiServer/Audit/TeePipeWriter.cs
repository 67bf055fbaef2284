using System.IO.Pipelines;

namespace K3sFast.ApiServer;

/// <summary>Passes an answer on and keeps a copy for the audit log, up to a bound.</summary>
internal sealed class TeePipeWriter(PipeWriter inner) : PipeWriter
{
    // Answers longer than this are recorded without their object; a list of everything may be hundreds of megabytes.
    private const int MaxBytes = 8 * 1024 * 1024;

    private readonly MemoryStream _copy = new();
    private Memory<byte> _lent;
    private bool _isTooLong;

    /// <summary>The answer; empty when it was too long.</summary>
    internal ReadOnlySpan<byte> Copied => _isTooLong ? default : _copy.GetBuffer().AsSpan(0, (int)_copy.Length);

    public override void Advance(int bytes)
    {
        if (_copy.Length + bytes > MaxBytes)
            _isTooLong = true;
        else
            _copy.Write(_lent.Span[..bytes]);
        _lent = _lent[bytes..];
        inner.Advance(bytes);
    }

    public override Memory<byte> GetMemory(int sizeHint = 0) => _lent = inner.GetMemory(sizeHint);

    public override Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    public override void CancelPendingFlush() => inner.CancelPendingFlush();

    public override void Complete(Exception? exception = null) => inner.Complete(exception);

    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => inner.FlushAsync(cancellationToken);
}
