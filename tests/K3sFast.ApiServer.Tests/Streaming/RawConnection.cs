using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace K3sFast.ApiServer.Tests;

/// <summary>A TLS connection to the server on which the test writes and reads bytes itself.</summary>
internal sealed class RawConnection : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(90);

    private readonly TcpClient _tcp;

    private RawConnection(TcpClient tcp, SslStream stream) => (_tcp, Stream) = (tcp, stream);

    internal SslStream Stream { get; }

    internal static async Task<RawConnection> OpenAsync(TestServer server, X509Certificate2? certificate = null)
    {
        var tcp = new TcpClient { NoDelay = true };
        await tcp.ConnectAsync("127.0.0.1", server.Server.Port, TestContext.Current.CancellationToken);
        var tls = new SslStream(tcp.GetStream(), false, static (_, _, _, _) => true);
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions { TargetHost = "localhost", ClientCertificates = [certificate ?? server.Certificates.Client("root", "system:masters")] },
            TestContext.Current.CancellationToken);
        return new RawConnection(tcp, tls);
    }

    internal ValueTask WriteAsync(string text) => Stream.WriteAsync(Encoding.Latin1.GetBytes(text), TestContext.Current.CancellationToken);

    /// <summary>The bytes up to and without <paramref name="end"/>.</summary>
    internal async Task<string> ReadUntilAsync(string end)
    {
        using var limit = Limit();
        return await ScriptedBackend.ReadUntilAsync(Stream, end, limit.Token);
    }

    internal async Task<string> ReadAsync(int length)
    {
        using var limit = Limit();
        var bytes = new byte[length];
        await Stream.ReadExactlyAsync(bytes, limit.Token);
        return Encoding.Latin1.GetString(bytes);
    }

    /// <summary>Everything until the server closes.</summary>
    internal async Task<string> ReadToEndAsync()
    {
        using var limit = Limit();
        var all = new MemoryStream();
        try
        {
            await Stream.CopyToAsync(all, limit.Token);
        }
        catch (IOException)
        {
            // Closed without a word is closed too.
        }
        return Encoding.Latin1.GetString(all.ToArray());
    }

    public async ValueTask DisposeAsync()
    {
        await Stream.DisposeAsync();
        _tcp.Dispose();
    }

    private static CancellationTokenSource Limit()
    {
        var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(s_patience);
        return limit;
    }
}
