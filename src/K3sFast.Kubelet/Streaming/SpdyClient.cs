using System.Buffers;
using System.Buffers.Binary;

namespace K3sFast.Kubelet.Streaming;

/// <summary>What comes in on a stream of a <see cref="SpdyClient"/>: bytes, or none with <c>isLast</c> at its end. Valid until it returns.</summary>
internal delegate ValueTask SpdyReceiver(ReadOnlyMemory<byte> bytes, bool isLast);

/// <summary>
/// The client's end of a SPDY/3.1 connection on which only we open streams. Bytes are handed over as they are read, one frame after the other:
/// who does not take them slows the whole connection down, which is the flow control that the runtimes' servers know.
/// </summary>
internal sealed class SpdyClient(Stream connection) : IAsyncDisposable
{
    // Frames are cut to this size: small enough to share the connection fairly.
    private const int MaxDataBytes = 32 * 1024;

    // What a peer may send in one control frame (headers, settings) before it is taken for hostile.
    private const int MaxControlBytes = 64 * 1024;

    private readonly SemaphoreSlim _writing = new(1);
    private readonly Dictionary<uint, SpdyReceiver> _receivers = [];
    private readonly Lock _gate = new();
    private uint _nextId = 1;

    public ValueTask DisposeAsync() => connection.DisposeAsync();

    /// <summary>Opens a stream. Call before <see cref="RunAsync"/> or while it runs.</summary>
    public async Task<uint> OpenAsync(IReadOnlyList<(string Name, string Value)> headers, SpdyReceiver receiver, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            var id = _nextId;
            _nextId += 2;
            lock (_gate) _receivers[id] = receiver;
            await connection.WriteAsync(SpdyFrame.SynStream(id, headers, isFirst: id == 1), cancellationToken).ConfigureAwait(false);
            await connection.FlushAsync(cancellationToken).ConfigureAwait(false);
            return id;
        }
        finally
        {
            _writing.Release();
        }
    }

    /// <summary>Sends bytes on a stream; <paramref name="isLast"/> closes our half of it.</summary>
    public async Task SendAsync(uint streamId, ReadOnlyMemory<byte> bytes, bool isLast, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
        var head = ArrayPool<byte>.Shared.Rent(SpdyFrame.HeadBytes);
        try
        {
            do
            {
                var part = bytes.Length > MaxDataBytes ? bytes[..MaxDataBytes] : bytes;
                bytes = bytes[part.Length..];
                SpdyFrame.WriteDataHead(head, streamId, part.Length, isLast && bytes.IsEmpty);
                await connection.WriteAsync(head.AsMemory(0, SpdyFrame.HeadBytes), cancellationToken).ConfigureAwait(false);
                if (!part.IsEmpty) await connection.WriteAsync(part, cancellationToken).ConfigureAwait(false);
            }
            while (!bytes.IsEmpty);
            await connection.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(head);
            _writing.Release();
        }
    }

    /// <summary>Reads frames until the peer closes the connection or every stream has ended; streams that are open then are told their end.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(MaxControlBytes);
        try
        {
            while (HasOpenStreams())
            {
                var read = await connection.ReadAtLeastAsync(buffer.AsMemory(0, SpdyFrame.HeadBytes), SpdyFrame.HeadBytes, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
                if (read < SpdyFrame.HeadBytes) break;
                var head = SpdyFrame.ReadHead(buffer);
                if (head.Type == SpdyFrameType.Data) await ReadDataAsync(head, buffer, cancellationToken).ConfigureAwait(false);
                else if (!await ReadControlAsync(head, buffer, cancellationToken).ConfigureAwait(false)) break;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
        await EndAllAsync().ConfigureAwait(false);
    }

    private bool HasOpenStreams()
    {
        lock (_gate) return _receivers.Count > 0;
    }

    private async Task ReadDataAsync(SpdyFrameHead head, byte[] buffer, CancellationToken cancellationToken)
    {
        SpdyReceiver? receiver;
        lock (_gate) _receivers.TryGetValue(head.StreamId, out receiver);
        var left = head.Length;
        while (left > 0)
        {
            var part = buffer.AsMemory(0, Math.Min(left, buffer.Length));
            await connection.ReadExactlyAsync(part, cancellationToken).ConfigureAwait(false);
            left -= part.Length;
            if (receiver is not null) await receiver(part, false).ConfigureAwait(false);
        }
        if (head.IsLast) await EndAsync(head.StreamId).ConfigureAwait(false);
    }

    // False = the peer says that it goes away.
    private async Task<bool> ReadControlAsync(SpdyFrameHead head, byte[] buffer, CancellationToken cancellationToken)
    {
        if (head.Length > MaxControlBytes) throw new InvalidDataException($"SPDY control frame of {head.Length} bytes");
        var body = buffer.AsMemory(0, head.Length);
        await connection.ReadExactlyAsync(body, cancellationToken).ConfigureAwait(false);
        switch (head.Type)
        {
            case SpdyFrameType.Ping:
                await WriteControlAsync(SpdyFrame.Ping(BinaryPrimitives.ReadUInt32BigEndian(body.Span)), cancellationToken).ConfigureAwait(false);
                return true;
            case SpdyFrameType.RstStream:
            case SpdyFrameType.SynReply when head.IsLast:
                await EndAsync(BinaryPrimitives.ReadUInt32BigEndian(body.Span) & 0x7FFF_FFFF).ConfigureAwait(false);
                return true;
            case SpdyFrameType.GoAway:
                return false;
            default:
                return true;
        }
    }

    private async Task WriteControlAsync(byte[] frame, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await connection.WriteAsync(frame, cancellationToken).ConfigureAwait(false);
            await connection.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _writing.Release();
        }
    }

    private async ValueTask EndAsync(uint streamId)
    {
        SpdyReceiver? receiver;
        lock (_gate) _receivers.Remove(streamId, out receiver);
        if (receiver is not null) await receiver(default, true).ConfigureAwait(false);
    }

    private async ValueTask EndAllAsync()
    {
        uint[] open;
        lock (_gate) open = [.. _receivers.Keys];
        foreach (var streamId in open) await EndAsync(streamId).ConfigureAwait(false);
    }
}
