using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace K3sFast.AddOns.Dns.Tests;

/// <summary>
/// Another name server, on loopback: one address for every name but those that begin with "no." (denied, with SOA) and "big." (truncated over
/// UDP). Written as "address:port" where a Corefile wants it.
/// </summary>
internal sealed class ForeignServer : IDisposable
{
    private readonly Socket _udp;
    private readonly Socket _tcp;
    private readonly ConcurrentQueue<string> _names = new();
    private readonly CancellationToken _stop;
    private int _questions;
    private int _tcpQuestions;
    private int _connections;

    internal ForeignServer(CancellationToken stop)
    {
        _stop = stop;
        while (true)
        {
            _tcp = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            _udp = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            _tcp.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            try
            {
                _udp.Bind(_tcp.LocalEndPoint!);
                break;
            }
            catch (SocketException)
            {
                // Somebody has the other half: another pair.
                Dispose();
            }
        }
        _tcp.Listen();
        _ = ServeAsync();
        _ = AcceptAsync();
    }

    internal bool IsSilent { get; set; }

    internal bool IsHeld { get; set; }

    internal bool ForgesFirst { get; set; }

    internal uint TtlSeconds { get; set; } = 300;

    internal Action<byte[]>? Relay { get; set; }

    internal int Questions => _questions;

    internal int TcpQuestions => _tcpQuestions;

    internal int Connections => _connections;

    internal string LastName => _names.Last();

    internal List<string> Names(string start) => [.. _names.Where(name => name.StartsWith(start, StringComparison.Ordinal))];

    public override string ToString() => _udp.LocalEndPoint!.ToString()!;

    public void Dispose()
    {
        _udp.Dispose();
        _tcp.Dispose();
    }

    private async Task ServeAsync()
    {
        var buffer = new byte[4096];
        try
        {
            while (true)
            {
                var received = await _udp.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0), _stop);
                var query = buffer[..received.ReceivedBytes];
                Note(query, ref _questions);
                if (Relay is { } relay)
                {
                    relay(query);
                    continue;
                }
                if (IsSilent) continue;
                while (IsHeld) await Task.Yield();
                var answer = Answer(query, isUdp: true);
                if (ForgesFirst)
                {
                    // Another ID; another question.
                    byte[] forged = [.. answer];
                    forged[0] ^= 0xFF;
                    forged[^5] = 66;
                    await _udp.SendToAsync(forged, SocketFlags.None, received.RemoteEndPoint, _stop);
                    forged[0] ^= 0xFF;
                    forged[13] ^= 1;
                    await _udp.SendToAsync(forged, SocketFlags.None, received.RemoteEndPoint, _stop);
                }
                await _udp.SendToAsync(answer, SocketFlags.None, received.RemoteEndPoint, _stop);
            }
        }
        catch (Exception ended) when (ended is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var connection = await _tcp.AcceptAsync(_stop);
                Interlocked.Increment(ref _connections);
                _ = ServeAsync(new NetworkStream(connection, ownsSocket: true));
            }
        }
        catch (Exception ended) when (ended is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private async Task ServeAsync(NetworkStream stream)
    {
        try
        {
            await using (stream)
            {
                var prefix = new byte[2];
                while (true)
                {
                    await stream.ReadExactlyAsync(prefix, _stop);
                    var query = new byte[DnsMessage.U16(prefix)];
                    await stream.ReadExactlyAsync(query, _stop);
                    Note(query, ref _tcpQuestions);
                    var answer = Answer(query, isUdp: false);
                    await stream.WriteAsync((byte[])[(byte)(answer.Length >> 8), (byte)answer.Length, .. answer], _stop);
                }
            }
        }
        catch (Exception ended) when (ended is OperationCanceledException or IOException)
        {
            // The client left.
        }
    }

    private void Note(byte[] query, ref int count)
    {
        _names.Enqueue(NameOf(query).TrimEnd('.'));
        Interlocked.Increment(ref count);
    }

    private static string NameOf(byte[] query)
    {
        DnsMessage.TryReadPlainName(query, 12, out var end);
        return WireName.ToText(query.AsSpan(12..end));
    }

    private byte[] Answer(byte[] query, bool isUdp)
    {
        DnsMessage.TryReadPlainName(query, 12, out var end);
        end += 4;
        var name = NameOf(query);
        byte[] head = [query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        var question = query[12..end];
        byte[] ttl = [(byte)(TtlSeconds >> 24), (byte)(TtlSeconds >> 16), (byte)(TtlSeconds >> 8), (byte)TtlSeconds];
        if (name.StartsWith("no.", StringComparison.Ordinal))
        {
            head[3] = 0x83;
            head[9] = 1;
            return [.. head, .. question, 0, 0, 6, 0, 1, 0, 0, 0, 60, 0, 22, 0, 0, .. new byte[16], 0, 0, 0, 20];
        }
        if (name.StartsWith("big.", StringComparison.Ordinal) && isUdp)
        {
            head[2] |= 0x02;
            return [.. head, .. question];
        }
        head[7] = 1;
        return [.. head, .. question, 0xC0, 12, 0, 1, 0, 1, .. ttl, 0, 4, 192, 0, 2, 1];
    }
}
