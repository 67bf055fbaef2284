using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.ApiServer.Tests;

/// <summary>What flags change about connections: TLS, browsers, client CAs that are exchanged, and the end.</summary>
public sealed class TransportTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Origin_ThatIsAllowed_IsToldSo()
    {
        await using var server = new TestServer { Adjust = static options => options with { AllowedOrigins = ["//a\\.example(:|$)"], StrictTransportSecurity = "max-age=1" } };
        await server.InitializeAsync();
        using var asked = await SendAsync(server, HttpMethod.Options, "https://a.example");
        Assert.Equal(HttpStatusCode.NoContent, asked.StatusCode);
        Assert.Equal("https://a.example", asked.Headers.GetValues("Access-Control-Allow-Origin").Single());
        Assert.Equal("POST, GET, OPTIONS, PUT, DELETE, PATCH", asked.Headers.GetValues("Access-Control-Allow-Methods").Single());
        using var read = await SendAsync(server, HttpMethod.Get, "https://a.example:8443");
        Assert.Equal((HttpStatusCode.OK, "true", "max-age=1"),
            (read.StatusCode, read.Headers.GetValues("Access-Control-Allow-Credentials").Single(), read.Headers.GetValues("Strict-Transport-Security").Single()));
        using var stranger = await SendAsync(server, HttpMethod.Get, "https://a.example.evil");
        Assert.Equal((HttpStatusCode.OK, false), (stranger.StatusCode, stranger.Headers.Contains("Access-Control-Allow-Origin")));
    }

    [Fact]
    public async Task Tls_OfAnOlderVersionThanWanted_IsNotSpoken()
    {
        await using var server = new TestServer { Adjust = static options => options with { TlsVersions = SslProtocols.Tls13 } };
        await server.InitializeAsync();
        Assert.Equal(SslProtocols.Tls13, await HandshakeAsync(server, SslProtocols.Tls12 | SslProtocols.Tls13));
        await Assert.ThrowsAnyAsync<Exception>(() => HandshakeAsync(server, SslProtocols.Tls12));
    }

    [Fact]
    public async Task Cipher_ThatIsTheOnlyOne_IsSpoken()
    {
        await using var server = new TestServer
        {
            Adjust = static options => options with { CipherSuites = [TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384] },
        };
        await server.InitializeAsync();
        Assert.Equal(SslProtocols.Tls12, await HandshakeAsync(server, SslProtocols.Tls12));
    }

    [Fact]
    public async Task ClientCa_ThatIsExchangedInItsFile_DecidesFromThenOn()
    {
        var other = new TestCertificates();
        var file = Path.Combine(OwnServer.NewDirectory(), "client-ca.crt");
        await using var server = new TestServer { Adjust = options => options with { ClientAuthoritiesFile = Write(file, options.ClientAuthorities[0]) } };
        await server.InitializeAsync();
        var newcomer = server.Client(other.Client("newcomer", "system:masters"));
        Assert.Equal(401, (await server.GetAsync("/api/v1/namespaces", newcomer)).Code);
        await File.WriteAllTextAsync(file, server.Certificates.Authority.ExportCertificatePem() + "\n" + other.Authority.ExportCertificatePem(), Stop);
        await OwnServer.UntilAsync(async () => (await server.GetAsync("/api/v1/namespaces", newcomer)).Code == 200);
        Assert.Equal(200, (await server.GetAsync("/api/v1/namespaces")).Code);
        // Other servers are told of it.
        await OwnServer.UntilAsync(async () => await TrustAsync(server) is var told && told.Contains(other.Authority) && told.Contains(server.Certificates.Authority));
        // Nonsense leaves everything as it was.
        await File.WriteAllTextAsync(file, "nonsense", Stop);
        await File.WriteAllTextAsync(file, other.Authority.ExportCertificatePem(), Stop);
        await OwnServer.UntilAsync(async () => (await server.GetAsync("/api/v1/namespaces")).Code == 401);
        Assert.Equal(200, (await server.GetAsync("/api/v1/namespaces", newcomer)).Code);
    }

    [Fact]
    public async Task Name_ThatHasACertificate_IsAnsweredWithIt_AlsoWhenItsFilesChange()
    {
        var folder = OwnServer.NewDirectory();
        string certificate = Path.Combine(folder, "a.crt"), key = Path.Combine(folder, "a.key"), wild = Path.Combine(folder, "w.crt"), wildKey = Path.Combine(folder, "w.key");
        WritePair(certificate, key, "CN=own.example.com");
        WritePair(wild, wildKey, "CN=wild");
        await using var server = new TestServer
        {
            Adjust = options => options with { NamedCertificates = [new NamedCertificate(certificate, key, []), new NamedCertificate(wild, wildKey, ["*.example.com"])] },
        };
        await server.InitializeAsync();
        Assert.Equal("CN=own.example.com", await SubjectAsync(server, "own.example.com"));
        Assert.Equal("CN=wild", await SubjectAsync(server, "other.example.com"));
        Assert.Equal("CN=kube-apiserver", await SubjectAsync(server, "a.b.example.com"));
        // Client certificates count as ever, and who names no server is shown the server's own.
        Assert.Equal(200, (await server.GetAsync("/api/v1/namespaces")).Code);
        WritePair(certificate, key, "CN=next.example.com");
        await OwnServer.UntilAsync(async () => await SubjectAsync(server, "next.example.com") == "CN=next.example.com");
        Assert.Equal("CN=wild", await SubjectAsync(server, "own.example.com"));
    }

    [Fact]
    public async Task Certificate_OfAnotherKey_StopsTheStart()
    {
        var folder = OwnServer.NewDirectory();
        string certificate = Path.Combine(folder, "a.crt"), key = Path.Combine(folder, "a.key");
        WritePair(certificate, key, "CN=a");
        WritePair(Path.Combine(folder, "b.crt"), key, "CN=b");
        var server = new TestServer { Adjust = options => options with { NamedCertificates = [new NamedCertificate(certificate, key, [])] } };
        var refused = await Assert.ThrowsAsync<ApiServerStartException>(async () => await server.InitializeAsync());
        Assert.StartsWith("failed to load SNI cert and key ", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task FrontProxyCa_ThatIsExchangedInItsFile_DecidesFromThenOn()
    {
        var other = new TestCertificates();
        var file = Path.Combine(OwnServer.NewDirectory(), "requestheader-ca.crt");
        await using var server = new TestServer
        {
            Adjust = options => options with
            {
                Authentication = new AuthenticationOptions
                {
                    RequestHeaders = new RequestHeaderOptions { Authorities = options.ClientAuthorities, AuthoritiesFile = Write(file, options.ClientAuthorities[0]), AllowedNames = ["proxy"] },
                },
            },
        };
        await server.InitializeAsync();
        var proxy = server.Client(other.Client("proxy"));
        proxy.DefaultRequestHeaders.Add("X-Remote-User", "eve");
        proxy.DefaultRequestHeaders.Add("X-Remote-Group", "system:masters");
        Assert.Equal(401, (await server.GetAsync("/api/v1/namespaces", proxy)).Code);
        await File.WriteAllTextAsync(file, other.Authority.ExportCertificatePem(), Stop);
        await OwnServer.UntilAsync(async () => (await server.GetAsync("/api/v1/namespaces", proxy)).Code == 200);
    }

    [Fact]
    public async Task Stop_WithADelay_ServesOnButIsNotReady()
    {
        var server = new TestServer { Adjust = static options => options with { ShutdownDelay = TimeSpan.FromMinutes(10) } };
        await server.InitializeAsync();
        using var enough = new CancellationTokenSource();
        var stopping = server.Server.StopAsync(enough.Token);
        await OwnServer.UntilAsync(async () => (await server.GetAsync("/readyz")).Code == 500);
        Assert.Equal(200, (await server.GetAsync("/livez")).Code);
        Assert.Equal(200, (await server.GetAsync("/api/v1/namespaces")).Code);
        Assert.False(stopping.IsCompleted);
        await enough.CancelAsync();
        await stopping;
        await server.DisposeAsync();
    }

    private static async Task<X509Certificate2Collection> TrustAsync(TestServer server)
    {
        var answer = await server.GetAsync("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication");
        var told = new X509Certificate2Collection();
        told.ImportFromPem((string)answer.Json["data"]!["client-ca-file"]!);
        return told;
    }

    private static void WritePair(string certificate, string keyFile, string subject)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var made = new CertificateRequest(subject, key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddDays(1));
        File.WriteAllText(certificate, made.ExportCertificatePem());
        File.WriteAllText(keyFile, key.ExportPkcs8PrivateKeyPem());
    }

    private static async Task<string> SubjectAsync(TestServer server, string name)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, server.Server.Port, Stop);
        await using var tls = new SslStream(client.GetStream());
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = name, RemoteCertificateValidationCallback = static (_, _, _, _) => true }, Stop);
        return tls.RemoteCertificate!.Subject;
    }

    private static string Write(string file, X509Certificate2 certificate)
    {
        File.WriteAllText(file, certificate.ExportCertificatePem());
        return file;
    }

    private static async Task<HttpResponseMessage> SendAsync(TestServer server, HttpMethod method, string origin)
    {
        using var request = new HttpRequestMessage(method, "/api/v1/namespaces");
        request.Headers.Add("Origin", origin);
        return await server.Admin.SendAsync(request, Stop);
    }

    private static async Task<SslProtocols> HandshakeAsync(TestServer server, SslProtocols versions)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, server.Server.Port, Stop);
        await using var tls = new SslStream(client.GetStream());
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions { TargetHost = "localhost", EnabledSslProtocols = versions, RemoteCertificateValidationCallback = static (_, _, _, _) => true }, Stop);
        return tls.SslProtocol;
    }
}
