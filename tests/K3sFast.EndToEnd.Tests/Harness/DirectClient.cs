using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace K3sFast.EndToEnd.Tests;

/// <summary>One API server, asked over HTTP with the certificate of a kubeconfig: no kubectl start-up between two requests.</summary>
internal sealed class DirectClient : IDisposable
{
    /// <summary>A client whose sockets are opened as told.</summary>
    /// <param name="kubeconfig">Where the certificate is read.</param>
    /// <param name="address">Of the server; its port is 6443.</param>
    /// <param name="open">Opens a socket in the network that reaches it.</param>
    internal DirectClient(string kubeconfig, string address, Func<Func<Socket>, Socket> open)
    {
        var text = File.ReadAllText(kubeconfig);
        string Field(string name) => Encoding.UTF8.GetString(Convert.FromBase64String(Regex.Match(text, name + @":\s*(\S+)").Groups[1].Value));
        using var pem = X509Certificate2.CreateFromPem(Field("client-certificate-data"), Field("client-key-data"));
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = open(static () => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });
                await socket.ConnectAsync(new IPEndPoint(IPAddress.Parse(address), 6443), cancellationToken);
                return new NetworkStream(socket, ownsSocket: true);
            },
        };
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        handler.SslOptions.ClientCertificates = [X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null)];
        Http = new HttpClient(handler) { BaseAddress = new Uri("https://kubernetes") };
    }

    /// <summary>For what the rest does not do.</summary>
    internal HttpClient Http { get; }

    /// <summary>Sends a request; answers whatever comes.</summary>
    internal async Task<(HttpStatusCode Status, JsonNode Answer)> TryAsync(HttpMethod method, string path, string? body = null, string contentType = "application/json")
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null) request.Content = new StringContent(body, null, contentType);
        using var response = await Http.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        return (response.StatusCode, JsonNode.Parse(text) ?? throw new InvalidOperationException($"{method} {path}: no JSON"));
    }

    /// <summary>Sends a request that must succeed.</summary>
    internal async Task<JsonNode> SendAsync(HttpMethod method, string path, string? body = null, string contentType = "application/json")
    {
        var (status, answer) = await TryAsync(method, path, body, contentType);
        Assert.True((int)status is >= 200 and < 300, $"{method} {path}: {(int)status} {answer}");
        return answer;
    }

    /// <summary>Reads what must be there.</summary>
    internal Task<JsonNode> GetAsync(string path) => SendAsync(HttpMethod.Get, path);

    /// <summary>Creates what must be taken.</summary>
    internal Task<JsonNode> CreateAsync(string path, string body) => SendAsync(HttpMethod.Post, path, body);

    public void Dispose() => Http.Dispose();
}
