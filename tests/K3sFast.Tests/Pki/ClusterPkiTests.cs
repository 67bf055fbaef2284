using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using K3sFast.Configuration;
using K3sFast.Pki;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Tests.Pki;

public sealed class ClusterPkiTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(DateTimeOffset.UtcNow);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Ensure_FreshDirectory_ServingCertificateChainsAndNamesTheApi()
    {
        using var pki = Ensure("--tls-san=api.example", "--tls-san=203.0.113.9");
        using var serving = pki.ServingApi.Load();
        Assert.True(serving.HasPrivateKey);
        Assert.True(pki.ServerCa.HasSigned(serving));
        foreach (var name in (string[])["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "node-a", "api.example"])
            Assert.True(serving.MatchesHostname(name), name);
        foreach (var address in (string[])["127.0.0.1", "::1", "10.43.0.1", "192.0.2.7", "203.0.113.9"])
            Assert.True(serving.MatchesHostname(address), address);
        Assert.False(serving.MatchesHostname("example.com"));
        Assert.InRange((serving.NotAfter - DateTime.Now).TotalDays, 364, 366);
    }

    [Theory]
    [InlineData("server/tls/client-admin", "CN=system:admin, O=system:masters")]
    [InlineData("server/tls/client-kube-apiserver", "CN=system:apiserver, O=system:masters")]
    [InlineData("server/tls/client-controller", "CN=system:kube-controller-manager")]
    [InlineData("server/tls/client-scheduler", "CN=system:kube-scheduler")]
    [InlineData("agent/client-kubelet", "CN=system:node:node-a, O=system:nodes")]
    [InlineData("agent/client-kube-proxy", "CN=system:kube-proxy")]
    public void Ensure_ClientCertificates_HaveK3sSubjects(string name, string subject)
    {
        using var pki = Ensure();
        using var certificate = X509Certificate2.CreateFromPemFile(Path.Combine(_folder.Path, name + ".crt"), Path.Combine(_folder.Path, name + ".key"));
        var parts = string.Join(", ", certificate.Subject.Split(", ").Order(StringComparer.Ordinal));
        Assert.Equal(subject, parts);
        Assert.True(pki.ClientCa.HasSigned(certificate));
        Assert.False(pki.ServerCa.HasSigned(certificate));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(_folder.Path, name + ".key")));
    }

    [Fact]
    public void Ensure_SecondStart_KeepsEverything()
    {
        Ensure().Dispose();
        var before = Contents();
        Ensure().Dispose();
        Assert.Equal(before, Contents());
    }

    [Fact]
    public void Ensure_LeafNearItsEnd_RenewsWithSameKeyAndCa()
    {
        Ensure().Dispose();
        var before = Contents();
        _clock.Advance(TimeSpan.FromDays(365 - 119));
        Ensure().Dispose();
        var after = Contents();
        Assert.NotEqual(before["server/tls/serving-kube-apiserver.crt"], after["server/tls/serving-kube-apiserver.crt"]);
        Assert.Equal(before["server/tls/serving-kube-apiserver.key"], after["server/tls/serving-kube-apiserver.key"]);
        Assert.Equal(before["server/tls/server-ca.crt"], after["server/tls/server-ca.crt"]);
    }

    [Fact]
    public void Ensure_NewSan_ReissuesServingOnly()
    {
        Ensure().Dispose();
        var before = Contents();
        Ensure("--tls-san=more.example").Dispose();
        var after = Contents();
        Assert.NotEqual(before["server/tls/serving-kube-apiserver.crt"], after["server/tls/serving-kube-apiserver.crt"]);
        Assert.Equal(before["server/tls/client-admin.crt"], after["server/tls/client-admin.crt"]);
    }

    [Fact]
    public void Ensure_OwnCaWithIntermediate_IsUsedAndTokenHashesTheRoot()
    {
        var now = _clock.GetUtcNow();
        using var rootKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var root = AuthorityRequest("CN=my-root", rootKey).CreateSelfSigned(now.AddDays(-1), now.AddDays(4000));
        using var middleKey = RSA.Create(2048);
        var middleRequest = new CertificateRequest("CN=my-intermediate", middleKey, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        middleRequest.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var middle = middleRequest.Create(root.SubjectName, X509SignatureGenerator.CreateForECDsa(rootKey), now.AddDays(-1), now.AddDays(3000), [1, 2, 3]);
        _folder.File("server/tls/server-ca.crt", middle.ExportCertificatePem() + "\n" + root.ExportCertificatePem() + "\n");
        _folder.File("server/tls/server-ca.key", middleKey.ExportRSAPrivateKeyPem());

        using var pki = Ensure();
        using var serving = pki.ServingApi.Load();
        Assert.Equal("CN=my-intermediate", serving.Issuer);
        Assert.True(pki.ServerCa.HasSigned(serving));
        Assert.StartsWith("K10" + Convert.ToHexStringLower(SHA256.HashData(root.RawData)) + "::server:", File.ReadAllText(Path.Combine(_folder.Path, "server/token")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("server/tls/server-ca.crt")]
    [InlineData("server/tls/server-ca.key")]
    [InlineData("server/tls/client-ca.crt")]
    [InlineData("server/tls/service.key")]
    public void Ensure_CorruptFile_NamesItAndTouchesNothing(string name)
    {
        Ensure().Dispose();
        _folder.File(name, "garbage");
        var before = Contents();
        var message = Assert.Throws<ConfigurationException>(() => Ensure()).Message;
        Assert.Contains(Path.Combine(_folder.Path, name), message, StringComparison.Ordinal);
        Assert.Equal(before, Contents());
    }

    /// <summary>As a first start leaves it that was cut off between the two.</summary>
    [Fact]
    public void Ensure_KeyWithoutCertificate_MakesTheCertificate()
    {
        Ensure().Dispose();
        var key = File.ReadAllText(Path.Combine(_folder.Path, "server/tls/client-ca.key"));
        File.Delete(Path.Combine(_folder.Path, "server/tls/client-ca.crt"));
        using var pki = Ensure();
        Assert.Equal(key, File.ReadAllText(Path.Combine(_folder.Path, "server/tls/client-ca.key")));
        using var admin = LoadAdmin();
        Assert.True(pki.ClientCa.HasSigned(admin));
    }

    [Fact]
    public void Ensure_AsEverythingIs_WritesNoFileAgain()
    {
        Ensure().Dispose();
        var then = new DateTime(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        var paths = Directory.GetFiles(_folder.Path, "*", SearchOption.AllDirectories).Where(static path => new FileInfo(path).LinkTarget is null).ToList();
        foreach (var path in paths)
            File.SetLastWriteTimeUtc(path, then);
        File.SetUnixFileMode(Path.Combine(_folder.Path, "server/cred/passwd"), UnixFileMode.UserRead | UnixFileMode.OtherRead);
        Ensure().Dispose();
        // A file that others could read is made anew; no other.
        Assert.Equal(["server/cred/passwd"],
            paths.Where(path => File.GetLastWriteTimeUtc(path) != then).Select(path => Path.GetRelativePath(_folder.Path, path)).Order(StringComparer.Ordinal));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(_folder.Path, "server/cred/passwd")));
    }

    [Fact]
    public async Task Begin_WhereAKubeconfigIs_LeavesTheRestToFinish()
    {
        Ensure().Dispose();
        var leaf = Path.Combine(_folder.Path, "server/tls/client-scheduler.crt");
        File.Delete(leaf);
        var config = Config();
        using var pki = ClusterPki.Begin(config, _clock);
        Assert.False(File.Exists(leaf));
        await pki.FinishAsync(config, _clock);
        using var made = X509Certificate2.CreateFromPemFile(leaf, Path.Combine(_folder.Path, "server/tls/client-scheduler.key"));
        Assert.True(pki.ClientCa.HasSigned(made));
    }

    [Fact]
    public async Task Begin_WhereNobodyHasAKubeconfig_FinishesByItself()
    {
        Ensure().Dispose();
        var kubeconfig = Path.Combine(_folder.Path, "k3s.yaml");
        File.Delete(kubeconfig);
        using var pki = ClusterPki.Begin(Config(), _clock);
        var deadline = DateTime.UtcNow.AddSeconds(60);
        while (!File.Exists(kubeconfig))
        {
            Assert.True(DateTime.UtcNow < deadline, "no kubeconfig in 60 s");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
        Assert.Contains("client-key-data: ", await File.ReadAllTextAsync(kubeconfig, TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Finish_WithACorruptKey_NamesIt()
    {
        Ensure().Dispose();
        _folder.File("server/tls/client-scheduler.key", "garbage");
        var config = Config();
        using var pki = ClusterPki.Begin(config, _clock);
        var error = await Assert.ThrowsAsync<ConfigurationException>(() => pki.FinishAsync(config, _clock));
        Assert.Contains(Path.Combine(_folder.Path, "server/tls/client-scheduler.key"), error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Ensure_CertificateWithoutKey_IsRefused()
    {
        Ensure().Dispose();
        File.Delete(Path.Combine(_folder.Path, "server/tls/client-ca.key"));
        Assert.Contains("client-ca.key is missing", Assert.Throws<ConfigurationException>(() => Ensure()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Ensure_KeyOfAnotherCa_IsRefused()
    {
        Ensure().Dispose();
        File.Copy(Path.Combine(_folder.Path, "server/tls/client-ca.key"), Path.Combine(_folder.Path, "server/tls/server-ca.key"), overwrite: true);
        Assert.Contains("is not the key of", Assert.Throws<ConfigurationException>(() => Ensure()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Ensure_CorruptLeaf_IsMadeAnew()
    {
        Ensure().Dispose();
        _folder.File("server/tls/client-admin.crt", "garbage");
        using var pki = Ensure();
        using var admin = LoadAdmin();
        Assert.True(pki.ClientCa.HasSigned(admin));
    }

    [Fact]
    public void Token_Generated_HasK10FormAndLinks()
    {
        Ensure().Dispose();
        var token = File.ReadAllText(Path.Combine(_folder.Path, "server/token"));
        var hash = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(_folder.Path, "server/tls/server-ca.crt"))));
        Assert.Matches($"^K10{hash}::server:[0-9a-f]{{32}}\n$", token);
        Assert.Equal(token, File.ReadAllText(Path.Combine(_folder.Path, "server/node-token")));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(_folder.Path, "server/token")));
    }

    [Fact]
    public void Token_GivenShort_IsKept()
    {
        Ensure("--token=sesame").Dispose();
        Assert.EndsWith("::server:sesame\n", File.ReadAllText(Path.Combine(_folder.Path, "server/token")), StringComparison.Ordinal);
        Assert.Throws<ConfigurationException>(() => Ensure("--token=K10" + new string('0', 64) + "::server:sesame"));
    }

    [Fact]
    public void Kubeconfig_Admin_IsPrivateAndNamesDefault()
    {
        Ensure("--https-listen-port=7443").Dispose();
        var path = Path.Combine(_folder.Path, "k3s.yaml");
        var text = File.ReadAllText(path);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        Assert.Contains("    server: https://127.0.0.1:7443\n  name: default\n", text, StringComparison.Ordinal);
        Assert.Contains("current-context: default\n", text, StringComparison.Ordinal);
        Assert.Contains("    client-key-data: " + Convert.ToBase64String(File.ReadAllBytes(Path.Combine(_folder.Path, "server/tls/client-admin.key"))), text, StringComparison.Ordinal);
    }

    private static CertificateRequest AuthorityRequest(string subject, ECDsa key)
    {
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        return request;
    }

    private X509Certificate2 LoadAdmin() =>
        X509Certificate2.CreateFromPemFile(Path.Combine(_folder.Path, "server/tls/client-admin.crt"), Path.Combine(_folder.Path, "server/tls/client-admin.key"));

    private ClusterPki Ensure(params string[] more) => ClusterPki.Ensure(Config(more), _clock);

    private ServerConfig Config(params string[] more)
    {
        var flags = FlagValues.Load(
            ["-d", _folder.Path, "--run-dir", Path.Combine(_folder.Path, "run"), "--node-ip=192.0.2.7", "--node-name=node-a", "-o", Path.Combine(_folder.Path, "k3s.yaml"),
                "--kubelet-arg=root-dir=" + Path.Combine(_folder.Path, "kubelet"), "--kubelet-arg=pod-logs-dir=" + Path.Combine(_folder.Path, "pods"), .. more],
            static name => name == "K3S_CONFIG_FILE" ? "/dev/null" : null);
        var config = ServerConfig.From(flags);
        config.Paths.CreateDirectories();
        return config;
    }

    private Dictionary<string, string> Contents() => Directory.GetFiles(_folder.Path, "*", SearchOption.AllDirectories)
        .ToDictionary(path => Path.GetRelativePath(_folder.Path, path), File.ReadAllText);
}
