using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.Client;
using K3sFast.Configuration;
using K3sFast.Controllers;
using K3sFast.Pki;
using K3sFast.Server;
using K3sFast.Tests.Ports;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Tests.Server;

/// <summary>Certificate requests and token secrets from the API to the controllers and back, over the real server.</summary>
public sealed class CertificateFlowTests : IAsyncLifetime
{
    private readonly TemporaryFolder _folder = new();
    private readonly LoopbackPort _port = new();
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(5));
    private ControlPlane _plane = null!;
    private ClusterPki _pki = null!;
    private Task _controllers = null!;

    public async ValueTask InitializeAsync()
    {
        var flags = FlagValues.Load(
            ["-d", _folder.Path, "--run-dir", Path.Combine(_folder.Path, "run"), "--node-ip=192.0.2.7", "--node-name=n1", "-o", Path.Combine(_folder.Path, "k3s.yaml"),
                "--bind-address=127.0.0.1", $"--https-listen-port={_port.Number}",
                "--kubelet-arg=root-dir=" + Path.Combine(_folder.Path, "kubelet"), "--kubelet-arg=pod-logs-dir=" + Path.Combine(_folder.Path, "pods")],
            static name => name == "K3S_CONFIG_FILE" ? "/dev/null" : null);
        var config = ServerConfig.From(flags);
        config.Paths.CreateDirectories();
        _pki = ClusterPki.Ensure(config, TimeProvider.System);
        _plane = await ControlPlane.StartAsync(config, Task.FromResult(_pki), NullLoggerFactory.Instance, _stop.Token);
        var options = new ControllerManagerOptions
        {
            ClusterCidr = "10.42.0.0/16",
            ServiceCidr = "10.43.0.0/16",
            RootCaPem = "pem",
            ClientAuthority = new(_pki.ClientCa.Issuer, _pki.ClientCa.Key),
            ServingAuthority = new(_pki.ServerCa.Issuer, _pki.ServerCa.Key),
            SignTokenOfSecret = _plane.SignTokenOfSecret,
        };
        _controllers = new ControllerManager(options, name => name == ControllerManager.SharedIdentity
            ? _plane.ClientFor("system:kube-controller-manager")
            : _plane.ClientFor("system:serviceaccount:kube-system:" + name, "system:serviceaccounts", "system:serviceaccounts:kube-system"), NullLoggerFactory.Instance)
            .RunAsync(_stop.Token);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _controllers;
        await _plane.DisposeAsync();
        _pki.Dispose();
        _port.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task Request_OfAUser_IsSignedWhenItIsApproved()
    {
        var admin = _plane.ClientFor("system:admin", "system:masters");
        await CreateAsync(admin, "alice", "kubernetes.io/kube-apiserver-client", "CN=alice,O=dev", 3600, "client auth");
        var csr = await admin.GetAsync(Resources.CertificateSigningRequests, null, "alice", _stop.Token);
        Assert.Null(csr.Status?.Certificate);
        await ApproveAsync(admin, csr);
        using var certificate = await CertificateAsync(admin, "alice");
        Assert.Equal("O=dev, CN=alice", certificate.Subject);
        Assert.True(_pki.ClientCa.HasSigned(certificate));
        Assert.InRange((certificate.NotAfter.ToUniversalTime() - DateTime.UtcNow).TotalMinutes, 55, 61);
        Assert.Equal("1.3.6.1.5.5.7.3.2", Assert.Single(certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>().Single().EnhancedKeyUsages.OfType<Oid>()).Value);
    }

    [Fact]
    public async Task Request_OfANode_IsApprovedByAccessReviewAndSigned()
    {
        var admin = _plane.ClientFor("system:admin", "system:masters");
        var binding = new V1ClusterRoleBinding
        {
            Metadata = new V1ObjectMeta { Name = "nodes" },
            RoleRef = new V1RoleRef { ApiGroup = "rbac.authorization.k8s.io", Kind = "ClusterRole", Name = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient" },
            Subjects = [new Rbacv1Subject { ApiGroup = "rbac.authorization.k8s.io", Kind = "Group", Name = "system:nodes" }],
        };
        await admin.CreateAsync(Resources.ClusterRoleBindings, binding, _stop.Token);
        var node = _plane.ClientFor("system:node:n1", "system:nodes");
        await CreateAsync(node, "node", "kubernetes.io/kube-apiserver-client-kubelet", "CN=system:node:n1,O=system:nodes", null, "digital signature", "client auth");
        using var certificate = await CertificateAsync(admin, "node");
        Assert.Equal("O=system:nodes, CN=system:node:n1", certificate.Subject);
        var refused = await Assert.ThrowsAsync<ApiException>(() => CreateAsync(
            node, "other", "kubernetes.io/kubelet-serving", "CN=system:node:n2,O=system:nodes", null, "digital signature", "server auth"));
        Assert.Contains("can only create a node CSR with CN=system:node:n1", refused.Message);
    }

    [Fact]
    public async Task Request_ThatItsSignerMayNotSign_Fails()
    {
        var admin = _plane.ClientFor("system:admin", "system:masters");
        await CreateAsync(admin, "bad", "kubernetes.io/kubelet-serving", "CN=system:node:n1,O=system:nodes", null, "digital signature", "server auth");
        await ApproveAsync(admin, await admin.GetAsync(Resources.CertificateSigningRequests, null, "bad", _stop.Token));
        V1CertificateSigningRequestCondition? failed = null;
        await UntilAsync(async () =>
        {
            var csr = await admin.GetAsync(Resources.CertificateSigningRequests, null, "bad", _stop.Token);
            failed = csr.Status?.Conditions?.FirstOrDefault(static c => c.Type == "Failed");
            return failed is not null;
        });
        Assert.Equal(("SignerValidationFailure", "DNS or IP subjectAltName is required"), (failed!.Reason, failed.Message));
    }

    [Fact]
    public async Task TokenSecret_OfAnAccount_IsFilledAndGoesWithIt()
    {
        var admin = _plane.ClientFor("system:admin", "system:masters");
        await admin.CreateAsync(Resources.ServiceAccounts, new V1ServiceAccount { Metadata = new V1ObjectMeta { Name = "robot", NamespaceProperty = "default" } }, _stop.Token);
        await admin.CreateAsync(Resources.Secrets, new V1Secret
        {
            Type = "kubernetes.io/service-account-token",
            Metadata = new V1ObjectMeta
            {
                Name = "robot-token", NamespaceProperty = "default", Annotations = new Dictionary<string, string> { ["kubernetes.io/service-account.name"] = "robot" },
            },
        }, _stop.Token);
        V1Secret secret = null!;
        await UntilAsync(async () => (secret = await admin.GetAsync(Resources.Secrets, "default", "robot-token", _stop.Token)).Data?.ContainsKey("token") == true);
        var review = new V1TokenReview
        {
            ApiVersion = "authentication.k8s.io/v1", Kind = "TokenReview", Spec = new V1TokenReviewSpec { Token = Encoding.ASCII.GetString(secret.Data["token"]) },
        };
        var answer = await admin.PostAsync<V1TokenReview, V1TokenReview>("/apis/authentication.k8s.io/v1/tokenreviews", review, _stop.Token);
        Assert.Equal("system:serviceaccount:default:robot", answer.Status.User?.Username);
        // The day of use is noted on the Secret.
        await UntilAsync(async () => (await admin.GetAsync(Resources.Secrets, "default", "robot-token", _stop.Token)).Metadata.Labels?.ContainsKey("kubernetes.io/legacy-token-last-used") == true);
        await admin.DeleteAsync(Resources.ServiceAccounts, "default", "robot", _stop.Token);
        await UntilAsync(async () => await admin.FindAsync(Resources.Secrets, "default", "robot-token", _stop.Token) is null);
    }

    private async Task CreateAsync(ApiClient client, string name, string signer, string subject, int? seconds, params string[] usages)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        // .NET writes the parts of a name last first.
        var request = new CertificateRequest(string.Join(',', subject.Split(',').Reverse()), key, HashAlgorithmName.SHA256);
        await client.CreateAsync(Resources.CertificateSigningRequests, new V1CertificateSigningRequest
        {
            Metadata = new V1ObjectMeta { Name = name },
            Spec = new V1CertificateSigningRequestSpec
            {
                Request = Encoding.ASCII.GetBytes(request.CreateSigningRequestPem()), SignerName = signer, Usages = usages, ExpirationSeconds = seconds,
            },
        }, _stop.Token);
    }

    private async Task ApproveAsync(ApiClient client, V1CertificateSigningRequest csr)
    {
        var condition = new V1CertificateSigningRequestCondition { Type = "Approved", Status = "True", Reason = "Test", Message = "by hand" };
        await client.UpdateAsync(Resources.CertificateSigningRequests, csr with { Status = new V1CertificateSigningRequestStatus { Conditions = [condition] } }, _stop.Token, "approval");
    }

    private async Task<X509Certificate2> CertificateAsync(ApiClient client, string name)
    {
        byte[]? pem = null;
        await UntilAsync(async () => (pem = (await client.GetAsync(Resources.CertificateSigningRequests, null, name, _stop.Token)).Status?.Certificate) is { Length: > 0 });
        return X509Certificate2.CreateFromPem(Encoding.ASCII.GetString(pem!));
    }

    private async Task UntilAsync(Func<Task<bool>> condition)
    {
        var deadline = DateTime.UtcNow.AddSeconds(120);
        while (!await condition())
        {
            Assert.True(DateTime.UtcNow < deadline, "the condition did not come true in time");
            await Task.Delay(20, _stop.Token);
        }
    }
}
