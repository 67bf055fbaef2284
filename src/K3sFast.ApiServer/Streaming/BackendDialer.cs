using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;

namespace K3sFast.ApiServer;

/// <summary>
/// Connections to what answers for us: kubelets, pods, endpoints of services. No proxy of the environment, no redirect that is followed, no cookie that
/// is kept, and one place that words what went wrong.
/// </summary>
internal sealed class BackendDialer(ApiServerOptions options)
{
    // Upstream's dialer gives 30 s; kubectl users see a dead node sooner.
    private static readonly TimeSpan s_connectTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Whatever certificate the other side shows: pods and services have none that we could check, as in upstream.</summary>
    internal static SslClientAuthenticationOptions UnverifiedTls() => new() { RemoteCertificateValidationCallback = static (_, _, _, _) => true };

    /// <summary>A client with a pool of connections of its own.</summary>
    internal HttpMessageInvoker MakeHttp(SslClientAuthenticationOptions tls) => new(new SocketsHttpHandler
    {
        ConnectTimeout = s_connectTimeout,
        ConnectCallback = (context, cancel) => OpenAsync(context.DnsEndPoint.Host, context.DnsEndPoint.Port, cancel),
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        AutomaticDecompression = DecompressionMethods.None,
        PooledConnectionIdleTimeout = TimeSpan.FromSeconds(30),
        // What a backend may say before its body: upstream's transport reads as much as one megabyte.
        MaxResponseHeadersLength = 1024,
        SslOptions = tls,
        ActivityHeadersPropagator = null,
    });

    /// <summary>A connection of its own; over TLS unless there are no options for it.</summary>
    /// <exception cref="BackendException">It does not come about; the message is upstream's.</exception>
    internal async Task<Stream> ConnectAsync(string host, int port, SslClientAuthenticationOptions? tls, CancellationToken cancel)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timeout.CancelAfter(s_connectTimeout);
        Stream? stream = null;
        try
        {
            stream = await OpenAsync(host, port, timeout.Token).ConfigureAwait(false);
            if (tls is null)
                return stream;
            var secured = new SslStream(stream, leaveInnerStreamOpen: false);
            stream = secured;
            tls.TargetHost ??= host;
            await secured.AuthenticateAsClientAsync(tls, timeout.Token).ConfigureAwait(false);
            return secured;
        }
        catch (Exception error)
        {
            if (stream is not null)
                await stream.DisposeAsync().ConfigureAwait(false);
            if (IsFailure(error, cancel))
                throw new BackendException(Describe(host, port, error), error);
            throw;
        }
    }

    /// <summary>True for what networks do to us; false for our own faults and for a client that has gone.</summary>
    internal static bool IsFailure(Exception error, CancellationToken cancel) =>
        error is SocketException or IOException or AuthenticationException or HttpRequestException or BackendException
        || error is OperationCanceledException && !cancel.IsCancellationRequested;

    /// <summary>What Go's transport says about the same failure.</summary>
    internal static string Describe(string host, int port, Exception error)
    {
        switch (error)
        {
            case BackendException known:
                return known.Message;
            case HttpRequestException { HttpRequestError: HttpRequestError.ResponseEnded }:
                return "EOF";
            case HttpRequestException { InnerException: { } inner }:
                return Describe(host, port, inner);
            case AuthenticationException when error.Message.Contains("frame", StringComparison.Ordinal):
                return "tls: first record does not look like a TLS handshake";
            case AuthenticationException:
                return $"tls: failed to verify certificate: {error.Message}";
            case SocketException socket:
                return $"dial tcp {StreamRouter.HostOf(host, port)}: {Words(socket.SocketErrorCode)}";
            case OperationCanceledException or TimeoutException:
                return $"dial tcp {StreamRouter.HostOf(host, port)}: i/o timeout";
            case IOException { InnerException: SocketException { SocketErrorCode: SocketError.ConnectionReset } }:
                return "read: connection reset by peer";
            default:
                return error.Message;
        }
    }

    private static string Words(SocketError error) => error switch
    {
        SocketError.ConnectionRefused => "connect: connection refused",
        SocketError.HostUnreachable => "connect: no route to host",
        SocketError.NetworkUnreachable => "connect: network is unreachable",
        SocketError.TimedOut => "i/o timeout",
        SocketError.HostNotFound or SocketError.TryAgain or SocketError.NoData => "lookup: no such host",
        _ => $"connect: {error}",
    };

    private async ValueTask<Stream> OpenAsync(string host, int port, CancellationToken cancel)
    {
        if (options.DialBackend is { } dial)
            return await dial(host, port, cancel).ConfigureAwait(false);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(host, port, cancel).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}

/// <summary>A backend that cannot be reached; the message is for the client.</summary>
internal sealed class BackendException(string message, Exception? inner = null) : Exception(message, inner);
