using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using K3sFast.Agent;
using K3sFast.Client;
using K3sFast.Configuration;
using K3sFast.Pki;
using K3sFast.Server;
using K3sFast.Supervisor;
using K3sFast.Tests.Ports;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Tests.Agent;

/// <summary>An agent's way into a cluster, against a real server over TLS: token, CA, certificates, and what they are good for.</summary>
public sealed class JoinTests : IAsyncLifetime
{
    private readonly TemporaryFolder _folder = new();
    private readonly LoopbackPort _port = new();
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(5));
    private ControlPlane _plane = null!;
    private ClusterPki _pki = null!;
    private ServerConfig _config = null!;
    private NodePaths _agent = null!;
    private Uri _server = null!;

    public async ValueTask InitializeAsync()
    {
        _server = new Uri($"https://127.0.0.1:{_port.Number}");
        var flags = FlagValues.Load(
            ["-d", Path.Combine(_folder.Path, "s"), "--run-dir", Path.Combine(_folder.Path, "run"), "--node-ip=192.0.2.7", "--node-name=n1", "-o", Path.Combine(_folder.Path, "k3s.yaml"),
                "--bind-address=127.0.0.1", $"--https-listen-port={_port.Number}", "--agent-token=for-agents", "--flannel-backend=host-gw",
                "--kubelet-arg=root-dir=" + Path.Combine(_folder.Path, "kubelet"), "--kubelet-arg=pod-logs-dir=" + Path.Combine(_folder.Path, "pods")],
            static name => name == "K3S_CONFIG_FILE" ? "/dev/null" : null);
        _config = ServerConfig.From(flags);
        _config.Paths.CreateDirectories();
        _pki = ClusterPki.Ensure(_config, TimeProvider.System);
        _plane = await ControlPlane.StartAsync(_config, Task.FromResult(_pki), NullLoggerFactory.Instance, _stop.Token);
        _agent = new NodePaths(Path.Combine(_folder.Path, "a"), Path.Combine(_folder.Path, "a-run"), Path.Combine(_folder.Path, "k"), Path.Combine(_folder.Path, "p"));
        _agent.CreateDirectories(isServer: false);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _plane.DisposeAsync();
        _pki.Dispose();
        _port.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData("server/token")]
    [InlineData("server/node-token")]
    [InlineData("server/agent-token")]
    public async Task Join_WithATokenFile_GetsSettingsAndCertificates(string file)
    {
        var (client, certificates) = await JoinAsync(File.ReadAllText(Path.Combine(_folder.Path, "s", file)), "worker");

        var settings = ClusterSettingsJson.Read(await client.GetAsync("/v1-k3s/config", _stop.Token));
        Assert.Equal("host-gw", settings.FlannelBackend);
        Assert.Equal("CN=system:node:worker", CommonName(certificates.Kubelet));
        Assert.Equal("CN=system:kube-proxy", certificates.KubeProxy.Subject);
        Assert.Equal("CN=system:k3s-controller", certificates.Controller.Subject);
        Assert.True(_pki.ClientCa.HasSigned(certificates.Kubelet));
        Assert.True(_pki.ServerCa.HasSigned(certificates.ServingKubelet));
        Assert.True(certificates.ServingKubelet.MatchesHostname("192.0.2.8"));
        Assert.True(certificates.ServingKubelet.MatchesHostname("worker"));
        Assert.False(certificates.ServingKubelet.MatchesHostname("n1"));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(_agent.Agent, "client-kubelet.key")));
    }

    [Fact]
    public async Task Join_WithTheSecretAlone_TrustsTheCaThatItFinds()
    {
        var (_, certificates) = await JoinAsync("for-agents", "worker");
        Assert.Equal("CN=system:node:worker", CommonName(certificates.Kubelet));
    }

    [Fact]
    public async Task Join_WithABootstrapToken_IsLetIn()
    {
        var admin = _plane.ClientFor("system:admin", "system:masters");
        await admin.CreateAsync(Resources.Secrets, new V1Secret
        {
            Metadata = new V1ObjectMeta { Name = "bootstrap-token-abcdef", NamespaceProperty = "kube-system" },
            Type = "bootstrap.kubernetes.io/token",
            Data = new Dictionary<string, byte[]>
            {
                ["token-id"] = "abcdef"u8.ToArray(), ["token-secret"] = "0123456789abcdef"u8.ToArray(), ["usage-bootstrap-authentication"] = "true"u8.ToArray(),
                ["auth-extra-groups"] = "system:bootstrappers:k3s:default-node-token"u8.ToArray(),
            },
        }, _stop.Token);
        var hash = ServerToken.HashOf(_pki.ServerCa);
        var (_, certificates) = await JoinAsync($"K10{hash}::abcdef.0123456789abcdef", "worker");
        Assert.Equal("CN=system:node:worker", CommonName(certificates.Kubelet));
    }

    [Fact]
    public async Task Token_Created_LetsANodeJoinUntilItIsDeleted()
    {
        var token = (await TokenAsync("create", "--ttl=2h", "--description=a test")).Trim();
        Assert.StartsWith("K10" + ServerToken.HashOf(_pki.ServerCa) + "::", token, StringComparison.Ordinal);
        await JoinAsync(token, "worker");

        await TokenAsync("create", "--ttl=0", "abcdef.0123456789abcdef");
        var lines = (await TokenAsync("list")).Split('\n');
        Assert.Matches(@"\ATOKEN +TTL +EXPIRES +USAGES +DESCRIPTION\z", lines[0]);
        Assert.Contains(lines, line => System.Text.RegularExpressions.Regex.IsMatch(line, @"\Aabcdef\.0123456789abcdef +<forever> +<never> +authentication,signing +<none>\z"));
        Assert.Contains(lines, static line => System.Text.RegularExpressions.Regex.IsMatch(line, @" 1h +\d{4}-\d\d-\d\dT\S+Z +authentication,signing +a test\z"));
        Assert.Contains("\"groups\":[\"system:bootstrappers:k3s:default-node-token\"]", await TokenAsync("list", "-o", "json"), StringComparison.Ordinal);

        var id = token.Split("::")[1][..6];
        Assert.Equal($"bootstrap token \"{id}\" deleted\n", await TokenAsync("delete", token));
        Assert.Equal(401, (await Assert.ThrowsAsync<ServerRefusedException>(() => JoinAsync(token, "other", Other()))).StatusCode);

        NodePaths Other()
        {
            var other = new NodePaths(Path.Combine(_folder.Path, "b"), Path.Combine(_folder.Path, "b-run"), Path.Combine(_folder.Path, "k"), Path.Combine(_folder.Path, "p"));
            other.CreateDirectories(isServer: false);
            return other;
        }
    }

    [Fact]
    public async Task Join_WithAnotherClustersToken_IsRefusedBeforeAnySecretIsSent()
    {
        var other = "K10" + new string('0', 64) + "::server:x";
        var refusal = await Assert.ThrowsAsync<ConfigurationException>(() => JoinAsync(other, "worker"));
        Assert.Contains("token CA hash does not match the Cluster CA certificate hash: 0000", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("server/node-token", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Join_WithAWrongSecret_IsUnauthorized()
    {
        var refusal = await Assert.ThrowsAsync<ServerRefusedException>(() => JoinAsync("wrong", "worker"));
        Assert.Equal(401, refusal.StatusCode);
    }

    [Fact]
    public async Task Join_AsANodeThatIsThere_IsForbiddenWithoutItsPassword()
    {
        await JoinAsync("for-agents", "worker");
        var other = new NodePaths(Path.Combine(_folder.Path, "b"), Path.Combine(_folder.Path, "b-run"), Path.Combine(_folder.Path, "k"), Path.Combine(_folder.Path, "p"));
        other.CreateDirectories(isServer: false);
        var refusal = await Assert.ThrowsAsync<ServerRefusedException>(() => JoinAsync("for-agents", "worker", other));
        Assert.Equal(403, refusal.StatusCode);
        Assert.StartsWith("Node password rejected, duplicate hostname", refusal.Message, StringComparison.Ordinal);

        var secret = await _plane.ClientFor("system:admin", "system:masters").GetAsync(Resources.Secrets, "kube-system", "worker.node-password.k3s", _stop.Token);
        Assert.True(PasswordHash.Matches(System.Text.Encoding.UTF8.GetString(secret.Data["hash"]), NodePasswordFile.Ensure(_agent)));
    }

    [Fact]
    public async Task Certificates_OfANode_AreItsIdentityAndNotAnothers()
    {
        var (client, certificates) = await JoinAsync("for-agents", "worker");
        using var transport = new HttpApiTransport(_server, certificates.ServerAuthorities, () => certificates.Kubelet);
        var node = new ApiClient(transport);
        await node.CreateAsync(Resources.Nodes, new V1Node { Metadata = new V1ObjectMeta { Name = "worker" } }, _stop.Token);
        var forbidden = await Assert.ThrowsAsync<ApiException>(async () =>
            await node.CreateAsync(Resources.Nodes, new V1Node { Metadata = new V1ObjectMeta { Name = "other" } }, _stop.Token));
        Assert.Equal(403, forbidden.Code);

        // With its certificate it may ask for its own name again, and for no other.
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var self = new NodeIdentity("worker", NodePasswordFile.Ensure(_agent), []);
        Assert.StartsWith("-----BEGIN CERTIFICATE-----", await client.SignAsync("client-kubelet", key, self, certificates.Kubelet, _stop.Token), StringComparison.Ordinal);
        var refusal = await Assert.ThrowsAsync<ServerRefusedException>(() => client.SignAsync("client-kubelet", key, self with { Name = "n1" }, certificates.Kubelet, _stop.Token));
        Assert.Equal((400, "header node name does not match auth node name"), (refusal.StatusCode, refusal.Message));
    }

    [Fact]
    public async Task Certificates_OfTheNetwork_MayDoWhatItNeedsAndNoMore()
    {
        var (_, certificates) = await JoinAsync("for-agents", "worker");
        var admin = _plane.ClientFor("system:admin", "system:masters");
        await admin.CreateAsync(Resources.Nodes, new V1Node { Metadata = new V1ObjectMeta { Name = "worker" } }, _stop.Token);
        using var proxyTransport = new HttpApiTransport(_server, certificates.ServerAuthorities, () => certificates.KubeProxy);
        using var controllerTransport = new HttpApiTransport(_server, certificates.ServerAuthorities, () => certificates.Controller);
        var (proxy, controller) = (new ApiClient(proxyTransport), new ApiClient(controllerTransport));

        await proxy.ListAsync(Resources.Services, null, default, _stop.Token);
        await proxy.ListAsync(Resources.EndpointSlices, null, default, _stop.Token);
        Assert.Equal(403, (await Assert.ThrowsAsync<ApiException>(async () => await proxy.ListAsync(Resources.Secrets, null, default, _stop.Token))).Code);

        var patch = PatchBody.Merge("""{"metadata":{"annotations":{"flannel.alpha.coreos.com/backend-type":"vxlan"}}}"""u8.ToArray());
        var noted = await controller.PatchAsync(Resources.Nodes, null, "worker", patch, _stop.Token, "status");
        Assert.Equal("vxlan", noted.Metadata.Annotations["flannel.alpha.coreos.com/backend-type"]);
        Assert.Equal(403, (await Assert.ThrowsAsync<ApiException>(async () => await controller.PatchAsync(Resources.Nodes, null, "worker", patch, _stop.Token))).Code);
        Assert.Equal(403, (await Assert.ThrowsAsync<ApiException>(async () => await controller.ListAsync(Resources.Secrets, null, default, _stop.Token))).Code);
    }

    [Fact]
    public async Task Status_OfADualStackNode_IsPatchedTwice()
    {
        var (_, certificates) = await JoinAsync("for-agents", "worker");
        using var transport = new HttpApiTransport(_server, certificates.ServerAuthorities, () => certificates.Kubelet);
        var node = new ApiClient(transport);
        await node.CreateAsync(Resources.Nodes, new V1Node { Metadata = new V1ObjectMeta { Name = "worker" } }, _stop.Token);
        foreach (var last in (string[])["192.0.2.8", "192.0.2.9"])
        {
            var status = new V1NodeStatus
            {
                Addresses =
                [
                    new V1NodeAddress { Type = "InternalIP", Address = last }, new V1NodeAddress { Type = "InternalIP", Address = "2001:db8::8" },
                    new V1NodeAddress { Type = "ExternalIP", Address = "203.0.113.8" }, new V1NodeAddress { Type = "Hostname", Address = "worker" },
                ],
            };
            var patched = await node.PatchAsync(Resources.Nodes, null, "worker", PatchBody.StrategicMerge(K3sFast.Kubelet.Node.NodeAgent.StatusPatch(status)), _stop.Token, "status");
            Assert.Equal([last, "2001:db8::8", "203.0.113.8", "worker"], patched.Status.Addresses.Select(static address => address.Address));
        }
    }

    [Fact]
    public async Task Certificates_NearTheirEnd_AreRenewedWithTheSameKeys()
    {
        var (client, certificates) = await JoinAsync("for-agents", "worker");
        await _plane.ClientFor("system:admin", "system:masters").CreateAsync(Resources.Nodes, new V1Node { Metadata = new V1ObjectMeta { Name = "worker" } }, _stop.Token);
        var (before, key) = (certificates.ServingKubelet, certificates.ServingKubelet.GetPublicKeyString());
        Assert.False(await certificates.RenewIfDueAsync(client, DateTimeOffset.UtcNow, _stop.Token));
        Assert.True(await certificates.RenewIfDueAsync(client, DateTimeOffset.UtcNow.AddDays(LeafSpec.LifetimeDays - LeafSpec.RenewDays + 1), _stop.Token));
        Assert.NotEqual(before.SerialNumber, certificates.ServingKubelet.SerialNumber);
        Assert.Equal(key, certificates.ServingKubelet.GetPublicKeyString());
    }

    [Fact]
    public async Task Supervisor_WhatItDoesNotHave_SaysSoByName()
    {
        var (client, _) = await JoinAsync("for-agents", "worker");
        Assert.Equal("ok", System.Text.Encoding.UTF8.GetString(await client.GetAsync("/v1-k3s/readyz", _stop.Token)));
        Assert.Equal($"[\"192.0.2.7:{_server.Port}\"]", System.Text.Encoding.UTF8.GetString(await client.GetAsync("/v1-k3s/apiservers", _stop.Token)));
        var refusal = await Assert.ThrowsAsync<ServerRefusedException>(() => client.GetAsync("/v1-k3s/connect", _stop.Token));
        Assert.Equal((501, "/v1-k3s/connect is not in this version of k3sfast"), (refusal.StatusCode, refusal.Message));
        Assert.Equal(405, (await Assert.ThrowsAsync<ServerRefusedException>(() => client.GetAsync("/v1-k3s/client-kube-proxy.crt", _stop.Token))).StatusCode);
    }

    private async Task<string> TokenAsync(params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var code = await K3sFast.Commands.TokenCommand.RunAsync([arguments[0], "--data-dir=" + Path.Combine(_folder.Path, "s"), .. arguments[1..]], static _ => null, output, error);
        Assert.True(code == 0, error.ToString());
        return output.ToString();
    }

    private async Task<(SupervisorClient Client, NodeCertificates Certificates)> JoinAsync(string token, string name, NodePaths? paths = null)
    {
        paths ??= _agent;
        var client = await SupervisorClient.ConnectAsync(_server, JoinToken.Parse(token), NullLogger.Instance, _stop.Token);
        var identity = new NodeIdentity(name, NodePasswordFile.Ensure(paths), [IPAddress.Parse("192.0.2.8")]);
        return (client, await NodeCertificates.ObtainAsync(client, paths, identity, NullLogger.Instance, _stop.Token));
    }

    private static string CommonName(X509Certificate2 certificate) => certificate.Subject.Split(", ").First(static part => part.StartsWith("CN=", StringComparison.Ordinal));
}
