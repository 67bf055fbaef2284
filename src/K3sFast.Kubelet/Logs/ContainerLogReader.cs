using System.Buffers;
using K3sFast.Interop.Processes;

namespace K3sFast.Kubelet.Logs;

/// <summary>What is asked of a container's log; the query of <c>kubectl logs</c>.</summary>
internal sealed record ContainerLogOptions
{
    public bool IsFollowing { get; init; }
    public bool WithTimestamps { get; init; }
    public long? TailLines { get; init; }
    public long? LimitBytes { get; init; }
    public DateTimeOffset? Since { get; init; }

    /// <summary>stdout, stderr, or both when null.</summary>
    public string? Stream { get; init; }
}

/// <summary>
/// Writes a container's log to a stream, without the runtime's line heads. Following stays with the log over its rotation and ends when the
/// container has ended and all is written.
/// </summary>
internal static class ContainerLogReader
{
    // How often a followed log is looked at when nothing new is in it: the delay a reader can notice.
    private static readonly TimeSpan s_pollInterval = TimeSpan.FromMilliseconds(50);

    // A record is cut by the runtime at 16 KiB; longer ones are read as they are, up to this bound.
    private const int MaxLineBytes = 1024 * 1024;

    /// <summary>Copies what <paramref name="options"/> ask for.</summary>
    /// <param name="path">The log's current file.</param>
    /// <param name="isRunning">Whether the container may still write; asked only while following.</param>
    /// <exception cref="FileNotFoundException">There is no log.</exception>
    public static async Task CopyAsync(
        string path, ContainerLogOptions options, Func<CancellationToken, Task<bool>> isRunning, Stream output, CancellationToken cancellationToken)
    {
        var writer = new LineWriter(options, output);
        var buffer = ArrayPool<byte>.Shared.Rent(64 * 1024);
        var file = Open(path);
        try
        {
            if (options.TailLines is { } tail) file.Position = CriLogTail.FindStart(file, tail);
            var identity = PosixFile.IdentityOf(path);
            var filled = 0;
            var hasEnded = false;
            while (!writer.IsFull)
            {
                if (filled == buffer.Length) buffer = Grow(buffer);
                var read = await file.ReadAsync(buffer.AsMemory(filled), cancellationToken).ConfigureAwait(false);
                if (read > 0)
                {
                    filled += read;
                    var used = writer.TakeLines(buffer.AsSpan(0, filled), isLast: false);
                    buffer.AsSpan(used, filled - used).CopyTo(buffer);
                    filled -= used;
                    await writer.WriteAsync(cancellationToken).ConfigureAwait(false);
                    continue;
                }
                if (!options.IsFollowing || hasEnded)
                {
                    writer.TakeLines(buffer.AsSpan(0, filled), isLast: true);
                    break;
                }
                var current = PosixFile.IdentityOf(path);
                if (current is not null && current != identity)
                {
                    // Turned over: this file is read to its end, the new one begins at its start.
                    identity = current;
                    await file.DisposeAsync().ConfigureAwait(false);
                    file = Open(path);
                    continue;
                }
                await output.FlushAsync(cancellationToken).ConfigureAwait(false);
                // Asked before the last read, so that nothing written before the end is missed.
                if (!await isRunning(cancellationToken).ConfigureAwait(false)) hasEnded = true;
                else await Task.Delay(s_pollInterval, cancellationToken).ConfigureAwait(false);
            }
            await writer.WriteAsync(cancellationToken).ConfigureAwait(false);
            await output.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            await file.DisposeAsync().ConfigureAwait(false);
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static FileStream Open(string path) =>
        new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, useAsync: false);

    private static byte[] Grow(byte[] buffer)
    {
        if (buffer.Length >= MaxLineBytes) throw new InvalidDataException($"a log record is longer than {MaxLineBytes} bytes");
        var larger = ArrayPool<byte>.Shared.Rent(buffer.Length * 2);
        buffer.CopyTo(larger, 0);
        ArrayPool<byte>.Shared.Return(buffer);
        return larger;
    }

    /// <summary>Filters and formats lines into one buffer per read.</summary>
    private sealed class LineWriter(ContainerLogOptions options, Stream output)
    {
        private readonly ArrayBufferWriter<byte> _pending = new();
        private long _left = options.LimitBytes ?? long.MaxValue;
        private bool _isMidLine;
        private bool _isPastSince = options.Since is null;

        public bool IsFull => _left <= 0;

        /// <summary>Takes whole lines; with <paramref name="isLast"/> also one without its end. Answers the bytes used.</summary>
        public int TakeLines(ReadOnlySpan<byte> bytes, bool isLast)
        {
            var used = 0;
            while (used < bytes.Length && !IsFull)
            {
                var rest = bytes[used..];
                var end = rest.IndexOf((byte)'\n');
                if (end < 0 && !isLast) break;
                Take(end < 0 ? rest : rest[..end]);
                used += end < 0 ? rest.Length : end + 1;
            }
            return used;
        }

        public async ValueTask WriteAsync(CancellationToken cancellationToken)
        {
            if (_pending.WrittenCount == 0) return;
            await output.WriteAsync(_pending.WrittenMemory, cancellationToken).ConfigureAwait(false);
            _pending.ResetWrittenCount();
        }

        private void Take(ReadOnlySpan<byte> line)
        {
            if (!CriLogLine.TryParse(line, out var parsed)) return;
            if (options.Stream is { } stream && !parsed.Stream.SequenceEqual(System.Text.Encoding.ASCII.GetBytes(stream))) return;
            if (!_isPastSince)
            {
                // Lines are in time order: once one is late enough, all that follow are.
                if (!parsed.TryGetTime(out var time) || time < options.Since) return;
                _isPastSince = true;
            }
            if (options.WithTimestamps && !_isMidLine)
            {
                Put(parsed.Time);
                Put(" "u8);
            }
            Put(parsed.Content);
            if (!parsed.IsPartial) Put("\n"u8);
            _isMidLine = parsed.IsPartial;
        }

        private void Put(ReadOnlySpan<byte> bytes)
        {
            if (bytes.Length > _left) bytes = bytes[..(int)_left];
            _left -= bytes.Length;
            _pending.Write(bytes);
        }
    }
}
