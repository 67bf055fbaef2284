using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.EndToEnd.Tests;

/// <summary>A cluster of one node that its tests may stop and kill.</summary>
public sealed class RestartCluster() : OneNodeCluster("restart1", 21)
{
    /// <summary>A client with the administrator's certificate that speaks to the server directly: no kubectl start-up between two writes.</summary>
    internal HttpClient CreateHttpClient()
    {
        var kubeconfig = File.ReadAllText(Node.Kubeconfig);
        string Field(string name) => Encoding.UTF8.GetString(Convert.FromBase64String(Regex.Match(kubeconfig, name + @":\s*(\S+)").Groups[1].Value));
        using var pem = X509Certificate2.CreateFromPem(Field("client-certificate-data"), Field("client-key-data"));
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = Lan.OpenOutside(static () => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });
                await socket.ConnectAsync(new IPEndPoint(IPAddress.Parse(Node.Address), 6443), cancellationToken);
                return new NetworkStream(socket, ownsSocket: true);
            },
        };
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        handler.SslOptions.ClientCertificates = [X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null)];
        return new HttpClient(handler) { BaseAddress = new Uri("https://kubernetes") };
    }
}
