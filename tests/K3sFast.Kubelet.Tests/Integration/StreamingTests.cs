using System.Net;
using System.Net.Security;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.Tests.Ports;

namespace K3sFast.Kubelet.Tests.Integration;

/// <summary>exec and log over the kubelet's own TLS port, against a real container.</summary>
[Collection("containerd")]
public sealed class StreamingTests(ContainerdFixture containerd) : IDisposable
{
    private readonly LoopbackPort _port = new();

    public void Dispose() => _port.Dispose();

    [Fact]
    public async Task Exec_WebSocketV5_StdinHalfClosed_CommandSeesItsEnd()
    {
        await using var agent = await StartAsync("exec");
        using var socket = await ConnectAsync(agent, "exec/default/box/main?command=cat&input=1&output=1&error=1", "v5.channel.k8s.io");

        await socket.SendAsync(new byte[] { 0, (byte)'h', (byte)'i' }, WebSocketMessageType.Binary, true, TestContext.Current.CancellationToken);
        await socket.SendAsync(new byte[] { 255, 0 }, WebSocketMessageType.Binary, true, TestContext.Current.CancellationToken);
        var channels = await ReadAllAsync(socket);

        Assert.Equal("hi", channels[1]);
        Assert.Contains("\"status\":\"Success\"", channels[3], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Exec_CommandFails_ExitCodeIsInTheStatus()
    {
        await using var agent = await StartAsync("exit");
        using var socket = await ConnectAsync(agent, "exec/default/box/main?command=sh&command=-c&command=echo%20bad%20%3E%262%3B%20exit%207&output=1&error=1", "v4.channel.k8s.io");

        var channels = await ReadAllAsync(socket);

        Assert.Equal("bad\n", channels[2]);
        Assert.Contains("\"reason\":\"NonZeroExitCode\"", channels[3], StringComparison.Ordinal);
        Assert.Contains("\"message\":\"7\"", channels[3], StringComparison.Ordinal);
    }

    [Fact]
    public async Task PortForward_TunnelledSpdy_ReachesThePort()
    {
        await using var agent = await StartAsync("forward");
        using var socket = await ConnectAsync(agent, "portForward/default/box?ports=18080", "v4.channel.k8s.io");

        var buffer = new byte[1024];
        var text = new StringBuilder();
        // Twice two bytes of port number, then what the server says.
        while (!text.ToString().Contains("greetings", StringComparison.Ordinal))
        {
            var result = await socket.ReceiveAsync(buffer.AsMemory(), TestContext.Current.CancellationToken);
            Assert.NotEqual(WebSocketMessageType.Close, result.MessageType);
            if (result.Count > 3 && buffer[0] == 0) text.Append(Encoding.UTF8.GetString(buffer, 1, result.Count - 1));
        }
    }

    [Fact]
    public async Task Log_OverTheApi_FollowsToTheEnd()
    {
        await using var agent = await StartAsync("log");
        await agent.CreateAsync(AgentHarness.Pod("talker", "for i in 1 2 3; do echo line $i; sleep 0.2; done"));
        await agent.WaitAsync("talker", pod => pod.Status?.Phase == "Running");
        using var client = new HttpClient(new SocketsHttpHandler { SslOptions = Tls(agent) });

        var log = await client.GetStringAsync(new Uri($"https://127.0.0.1:{agent.Options.Port}/containerLogs/default/talker/main?follow=true"), TestContext.Current.CancellationToken);

        Assert.Equal("line 1\nline 2\nline 3\n", log);
    }

    [Fact]
    public async Task Request_WithoutIdentity_IsRefused()
    {
        await using var agent = await StartAsync("anonymous");
        using var client = new HttpClient(new SocketsHttpHandler { SslOptions = new SslClientAuthenticationOptions { RemoteCertificateValidationCallback = static (_, _, _, _) => true } });

        var response = await client.GetAsync(new Uri($"https://127.0.0.1:{agent.Options.Port}/pods"), TestContext.Current.CancellationToken);

        Assert.Equal(HttpStatusCode.Unauthorized, response.StatusCode);
    }

    private async Task<AgentHarness> StartAsync(string name)
    {
        var agent = new AgentHarness(containerd, name);
        var authority = Certificate("CN=test-ca", null);
        agent.Identity = Certificate("CN=admin, O=system:masters", authority);
        var serving = Certificate("CN=node1", null);
        agent.Options = agent.Options with { Port = _port.Number, BindAddress = IPAddress.Loopback, ServingCertificate = () => serving, ClientCAs = [authority] };
        agent.Start();
        await agent.CreateAsync(AgentHarness.Pod("box", "trap 'exit 0' TERM; while true; do echo greetings | nc -l -p 18080; sleep 0.1; done"));
        await agent.WaitAsync("box", pod => pod.Status?.Phase == "Running");
        return agent;
    }

    private static X509Certificate2 Certificate(string subject, X509Certificate2? issuer)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        if (issuer is null)
        {
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
            using var own = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
            return X509CertificateLoader.LoadPkcs12(own.Export(X509ContentType.Pfx), null);
        }
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.2")], false));
        using var signed = request.Create(issuer, DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(20), [1, 2, 3, 4]);
        using var withKey = signed.CopyWithPrivateKey(key);
        return X509CertificateLoader.LoadPkcs12(withKey.Export(X509ContentType.Pfx), null);
    }

    private static SslClientAuthenticationOptions Tls(AgentHarness agent) => new()
    {
        RemoteCertificateValidationCallback = static (_, _, _, _) => true,
        LocalCertificateSelectionCallback = (_, _, _, _, _) => agent.Identity!,
        ClientCertificates = [agent.Identity!],
    };

    private static async Task<ClientWebSocket> ConnectAsync(AgentHarness agent, string path, string protocol)
    {
        var socket = new ClientWebSocket();
        socket.Options.AddSubProtocol(protocol);
        socket.Options.ClientCertificates.Add(agent.Identity!);
        socket.Options.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        await socket.ConnectAsync(new Uri($"wss://127.0.0.1:{agent.Options.Port}/{path}"), TestContext.Current.CancellationToken);
        Assert.Equal(protocol, socket.SubProtocol);
        return socket;
    }

    private static async Task<string[]> ReadAllAsync(ClientWebSocket socket)
    {
        var channels = new string[5];
        Array.Fill(channels, "");
        var buffer = new byte[64 * 1024];
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(120));
        while (true)
        {
            var result = await socket.ReceiveAsync(buffer.AsMemory(), deadline.Token);
            if (result.MessageType == WebSocketMessageType.Close) return channels;
            channels[buffer[0]] += Encoding.UTF8.GetString(buffer, 1, result.Count - 1);
        }
    }
}
