using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using K3sFast.Client;

namespace K3sFast.AddOns.Dns;

/// <summary>How a server that questions are forwarded to is spoken with.</summary>
internal enum UpstreamTransport
{
    Udp,
    Tcp,
    Tls,
}

/// <summary>
/// A server that questions are forwarded to. Over UDP each question has a socket of its own: the kernel picks a random port for each, which
/// with a random ID is what protects against forged answers (RFC 5452). Connections over TCP and TLS are kept for a while and used again.
/// </summary>
internal sealed class Upstream(IPEndPoint server, UpstreamTransport transport, UpstreamSettings settings) : IDisposable
{
    // Connections kept open beside those in use; further ones are closed.
    private const int MaxIdle = 16;

    private readonly ConcurrentStack<(Stream Stream, long Since)> _idle = new();
    private readonly Lock _gate = new();
    private int _failures;
    private bool _isProbing;
    private bool _isDisposed;

    internal IPEndPoint Server { get; } = server;

    /// <summary>As metrics name it.</summary>
    internal string Label { get; } = server.ToString();

    /// <summary>True once so many checks in a row have failed that others are asked instead.</summary>
    internal bool IsDown => settings.MaxFails > 0 && Volatile.Read(ref _failures) >= settings.MaxFails;

    /// <summary>Asks. Null where the server's answer is malformed.</summary>
    /// <exception cref="IOException">No answer.</exception>
    /// <exception cref="SocketException">No answer.</exception>
    /// <exception cref="OperationCanceledException">No answer in time.</exception>
    internal async Task<byte[]> AskAsync(byte[] query, bool useTcp, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(settings.ReadTimeout);
        if (transport == UpstreamTransport.Udp && !useTcp)
        {
            var answer = await AskOverUdpAsync(query, patience.Token).ConfigureAwait(false);
            if ((answer[2] & 0x02) == 0) return answer;
            try
            {
                return await AskOverStreamAsync(query, patience.Token).ConfigureAwait(false);
            }
            catch (Exception failure) when (failure is SocketException or IOException)
            {
                // No TCP there: half an answer is better than none.
                return answer;
            }
        }
        return await AskOverStreamAsync(query, patience.Token).ConfigureAwait(false);
    }

    /// <summary>Notes that a question was not answered: the server is asked every half second until it answers again.</summary>
    internal void Suspect(TimeProvider time)
    {
        if (settings.MaxFails == 0) return;
        lock (_gate)
        {
            if (_isProbing || _isDisposed) return;
            _isProbing = true;
        }
        _ = ProbeAsync(time);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate) _isDisposed = true;
        while (_idle.TryPop(out var kept)) kept.Stream.Dispose();
    }

    private async Task ProbeAsync(TimeProvider time)
    {
        Span<byte> key = stackalloc byte[UpstreamKey.MaxSize];
        settings.HealthDomain.CopyTo(key);
        var size = settings.HealthDomain.Length;
        DnsMessage.U16(key[size..], (ushort)DnsType.NS);
        DnsMessage.U16(key[(size + 2)..], 1);
        key[size + 4] = 0;
        var query = UpstreamKey.Query(key[..(size + 5)], settings.HealthIsRecursive);
        while (!_isDisposed)
        {
            try
            {
                // Whatever it answers, it lives.
                await AskAsync(query, settings.ForceTcp, CancellationToken.None).ConfigureAwait(false);
                Interlocked.Exchange(ref _failures, 0);
                break;
            }
            catch (Exception failure) when (failure is SocketException or IOException or OperationCanceledException or System.Security.Authentication.AuthenticationException)
            {
                Interlocked.Increment(ref _failures);
                settings.HealthFailures.With("forward", Label).Add();
            }
            await Task.Delay(settings.HealthInterval, time).ConfigureAwait(false);
        }
        lock (_gate) _isProbing = false;
    }

    private async Task<byte[]> AskOverUdpAsync(byte[] query, CancellationToken cancellationToken)
    {
        using var socket = new Socket(Server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(Server, cancellationToken).ConfigureAwait(false);
        await socket.SendAsync(query, SocketFlags.None, cancellationToken).ConfigureAwait(false);
        var buffer = new byte[4096];
        while (true)
        {
            var size = await socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken).ConfigureAwait(false);
            // Anything else is somebody's guess, or late.
            if (UpstreamKey.IsAnswerTo(query, buffer.AsSpan(0, size))) return buffer[..size];
        }
    }

    private async Task<byte[]> AskOverStreamAsync(byte[] query, CancellationToken cancellationToken)
    {
        // A kept connection may have been closed by the other side meanwhile: then once more on a new one.
        if (TryTakeIdle() is { } kept)
        {
            try
            {
                return await AskOverAsync(kept, query, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception failure) when (failure is IOException or SocketException)
            {
                await kept.DisposeAsync().ConfigureAwait(false);
            }
        }
        var stream = await ConnectAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await AskOverAsync(stream, query, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await stream.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task<byte[]> AskOverAsync(Stream stream, byte[] query, CancellationToken cancellationToken)
    {
        var framed = new byte[query.Length + 2];
        DnsMessage.U16(framed, query.Length);
        query.CopyTo(framed, 2);
        await stream.WriteAsync(framed, cancellationToken).ConfigureAwait(false);
        await stream.FlushAsync(cancellationToken).ConfigureAwait(false);
        var prefix = new byte[2];
        await stream.ReadExactlyAsync(prefix, cancellationToken).ConfigureAwait(false);
        var answer = new byte[DnsMessage.U16(prefix)];
        await stream.ReadExactlyAsync(answer, cancellationToken).ConfigureAwait(false);
        if (!UpstreamKey.IsAnswerTo(query, answer)) throw new IOException("the answer is to another question");
        if (_idle.Count < MaxIdle && !_isDisposed) _idle.Push((stream, Environment.TickCount64));
        else await stream.DisposeAsync().ConfigureAwait(false);
        return answer;
    }

    private Stream? TryTakeIdle()
    {
        while (_idle.TryPop(out var kept))
        {
            if (Environment.TickCount64 - kept.Since < settings.Expire.TotalMilliseconds) return kept.Stream;
            kept.Stream.Dispose();
        }
        return null;
    }

    private async Task<Stream> ConnectAsync(CancellationToken cancellationToken)
    {
        var socket = new Socket(Server.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(Server, cancellationToken).ConfigureAwait(false);
            var stream = new NetworkStream(socket, ownsSocket: true);
            if (transport != UpstreamTransport.Tls) return stream;
            var secured = new SslStream(stream);
            await secured.AuthenticateAsClientAsync(settings.Tls!(Server), cancellationToken).ConfigureAwait(false);
            return secured;
        }
        catch (System.Security.Authentication.AuthenticationException refused)
        {
            socket.Dispose();
            throw new IOException($"TLS with {Server}: {refused.Message}", refused);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}

/// <summary>What the servers of one forward plugin have in common.</summary>
internal sealed record UpstreamSettings
{
    // CoreDNS' defaults.
    internal TimeSpan ReadTimeout { get; init; } = TimeSpan.FromSeconds(2);

    internal TimeSpan Expire { get; init; } = TimeSpan.FromSeconds(10);

    internal int MaxFails { get; init; } = 2;

    internal TimeSpan HealthInterval { get; init; } = TimeSpan.FromMilliseconds(500);

    internal bool HealthIsRecursive { get; init; } = true;

    internal byte[] HealthDomain { get; init; } = [0];

    internal bool ForceTcp { get; init; }

    internal Func<IPEndPoint, SslClientAuthenticationOptions>? Tls { get; init; }

    internal required MetricFamily<Counter> HealthFailures { get; init; }
}
