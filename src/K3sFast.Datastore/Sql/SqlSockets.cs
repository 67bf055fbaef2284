using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.Datastore.Sql;

/// <summary>How much of the server's identity TLS must prove.</summary>
internal enum TlsTrust : byte
{
    /// <summary>No TLS.</summary>
    None,

    /// <summary>TLS if the server has it; whoever it is.</summary>
    IfOffered,

    /// <summary>TLS, whoever the server is.</summary>
    Encrypt,

    /// <summary>TLS, and a certificate of a trusted authority.</summary>
    Authority,

    /// <summary>TLS, and a trusted certificate with the server's name.</summary>
    Name,
}

/// <summary>Connections to database servers.</summary>
internal static class SqlSockets
{
    private static readonly TimeSpan s_connectTimeout = TimeSpan.FromSeconds(5);

    // As long as any other answer of a database is waited for.
    private static readonly TimeSpan s_handshakeTimeout = TimeSpan.FromSeconds(12);

    /// <summary>Connects to a host and port, or to a Unix socket when the host is a path.</summary>
    public static async Task<Stream> ConnectAsync(string host, int port, CancellationToken cancellationToken)
    {
        bool isUnix = host.StartsWith('/');
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(s_connectTimeout);
        Socket? socket = null;
        try
        {
            socket = isUnix ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) : new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            if (isUnix) await socket.ConnectAsync(new UnixDomainSocketEndPoint(host), limit.Token).ConfigureAwait(false);
            else await socket.ConnectAsync(host, port, limit.Token).ConfigureAwait(false);
            if (!isUnix) KeepAlive(socket);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch (Exception error) when (error is SocketException || (error is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            socket?.Dispose();
            throw new SqlException(SqlFailure.Lost, "", error is SocketException ? $"{host}: {error.Message}" : $"{host} does not answer within {s_connectTimeout.TotalSeconds:0} s", error);
        }
    }

    /// <summary>Puts TLS on a connection.</summary>
    public static async Task<SslStream> SecureAsync(Stream plain, string host, DatastoreTls tls, TlsTrust trust, CancellationToken cancellationToken)
    {
        var options = tls.ForHost(host);
        if (trust < TlsTrust.Name)
        {
            // What the mode does not ask for is not held against the server.
            var forgiven = trust == TlsTrust.Authority
                ? SslPolicyErrors.RemoteCertificateNameMismatch
                : SslPolicyErrors.RemoteCertificateNameMismatch | SslPolicyErrors.RemoteCertificateChainErrors;
            options.RemoteCertificateValidationCallback = (_, certificate, _, errors) => certificate is not null && (errors & ~forgiven) == SslPolicyErrors.None;
        }
        options.CertificateRevocationCheckMode = X509RevocationMode.NoCheck;
        var secured = new SslStream(plain, leaveInnerStreamOpen: false);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(s_handshakeTimeout);
        try
        {
            await secured.AuthenticateAsClientAsync(options, limit.Token).ConfigureAwait(false);
            return secured;
        }
        catch (OperationCanceledException error) when (!cancellationToken.IsCancellationRequested)
        {
            await secured.DisposeAsync().ConfigureAwait(false);
            throw new SqlException(SqlFailure.Lost, "", $"TLS with {host}: no answer within {s_handshakeTimeout.TotalSeconds:0} s", error);
        }
        catch (Exception error) when (error is AuthenticationException or IOException)
        {
            await secured.DisposeAsync().ConfigureAwait(false);
            throw new SqlException(error is IOException ? SqlFailure.Lost : SqlFailure.Refused, "", $"TLS with {host} failed: {error.Message}", error);
        }
    }

    // A database host that lost its power is noticed within half a minute, even while nothing is asked.
    private static void KeepAlive(Socket socket)
    {
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 15);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 5);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
    }
}
