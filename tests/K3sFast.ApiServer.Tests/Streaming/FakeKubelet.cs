using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;

namespace K3sFast.ApiServer.Tests;

/// <summary>A TLS listener that speaks just enough of the kubelet's HTTP: it notes the request line, and answers what the test says.</summary>
internal sealed class FakeKubelet : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly TestCertificates _certificates;
    private readonly Func<string, Stream, Task> _answer;
    private readonly Task _loop;

    internal FakeKubelet(TestCertificates certificates, Func<string, Stream, Task> answer)
    {
        _certificates = certificates;
        _answer = answer;
        _listener.Start();
        _loop = AcceptAsync();
    }

    internal int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    internal List<string> Requests { get; } = [];

    internal string? ClientName { get; private set; }

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        await _loop;
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            try
            {
                using var socket = await _listener.AcceptSocketAsync();
                await using var tls = new SslStream(new NetworkStream(socket), false);
                await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
                {
                    ServerCertificate = _certificates.Serving, ClientCertificateRequired = true, RemoteCertificateValidationCallback = static (_, _, _, _) => true,
                });
                ClientName = tls.RemoteCertificate?.Subject;
                var head = await ReadHeadAsync(tls);
                Requests.Add(head[..head.IndexOf('\r', StringComparison.Ordinal)]);
                await _answer(head, tls);
            }
            catch (Exception error) when (error is SocketException or InvalidOperationException)
            {
                return;
            }
            catch (IOException)
            {
                // The server under test hung up, as it may.
            }
        }
    }

    private static async Task<string> ReadHeadAsync(Stream stream)
    {
        var head = new StringBuilder();
        var one = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            if (await stream.ReadAsync(one) == 0)
                throw new IOException("closed");
            head.Append((char)one[0]);
        }
        return head.ToString();
    }
}
