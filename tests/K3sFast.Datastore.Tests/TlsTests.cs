using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using K3sFast.Tests.Databases;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Datastore.Tests;

/// <summary>k3s's TLS files and the ways to log in, against real servers.</summary>
public sealed class TlsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("store-tls-").FullName;

    public TlsTests()
    {
        System.IO.File.SetUnixFileMode(_folder, (UnixFileMode)0b111_101_101);
        MakeAuthority("ca");
        MakeAuthority("other");
        MakeLeaf("server", "ca", isServer: true);
        MakeLeaf("client", "ca", isServer: false);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Etcd_WithClientCertificates_OpensWithTheFilesAndNotWithout()
    {
        if (EtcdServer.SkipReason is { } reason) Assert.Skip(reason);
        var members = await EtcdServer.StartClusterAsync(1, $"--cert-file={Named("server.crt")} --key-file={Named("server.key")} --trusted-ca-file={Named("ca.crt")} --client-cert-auth");
        try
        {
            await WorksAsync(members[0].Url, new DatastoreTls(Named("ca.crt"), Named("client.crt"), Named("client.key")));
            await FailsAsync(members[0].Url, new DatastoreTls(Named("ca.crt")));
            await FailsAsync(members[0].Url, new DatastoreTls(Named("other.crt"), Named("client.crt"), Named("client.key")));
        }
        finally
        {
            await members[0].DisposeAsync();
        }
    }

    [Fact]
    public async Task Postgres_TlsAndEveryPasswordMethod_Work()
    {
        if (PostgresServer.SkipReason is { } reason) Assert.Skip(reason);
        foreach (string method in new[] { "scram-sha-256", "md5", "password" })
        {
            Own("server.key", "postgres");
            var server = await PostgresServer.StartNewAsync(
                method, $"-c ssl=on -c ssl_cert_file={Named("server.crt")} -c ssl_key_file={Named("server.key")} {(method == "md5" ? "-c password_encryption=md5" : "")}");
            try
            {
                string url = server.Url("kubernetes").Replace("?sslmode=disable", "", StringComparison.Ordinal);
                await WorksAsync(url, new DatastoreTls(Named("ca.crt")));
                await WorksAsync(url + "?sslmode=require", new DatastoreTls());
                await WorksAsync(url + "?sslmode=disable", new DatastoreTls());
                await FailsAsync(url, new DatastoreTls(Named("other.crt")));
                await FailsAsync(url.Replace("secret", "wrong", StringComparison.Ordinal), new DatastoreTls());
            }
            finally
            {
                await server.DisposeAsync();
            }
        }
    }

    [Fact]
    public async Task MariaDb_TlsSocketAndPassword_Work()
    {
        if (MariaDbServer.SkipReason is { } reason) Assert.Skip(reason);
        var server = await MariaDbServer.StartNewAsync($"--ssl-cert={Named("server.crt")} --ssl-key={Named("server.key")} --ssl-ca={Named("ca.crt")}");
        try
        {
            string url = server.Url("kubernetes");
            await WorksAsync(url, new DatastoreTls(Named("ca.crt")));
            await WorksAsync(url + "?tls=skip-verify", new DatastoreTls());
            await WorksAsync($"mysql://root@unix({server.Socket})/kubernetes", new DatastoreTls());
            await FailsAsync(url, new DatastoreTls(Named("other.crt")));
            await FailsAsync(url.Replace("secret", "wrong", StringComparison.Ordinal), new DatastoreTls());
        }
        finally
        {
            await server.DisposeAsync();
        }
    }

    private static async Task WorksAsync(string url, DatastoreTls tls)
    {
        await using var store = await DatastoreEndpoint.Parse(url, tls, "", "/").OpenAsync(NullLoggerFactory.Instance, CancellationToken.None);
        var result = await store.AppendAsync(AppendRequest.Create($"/t/{Guid.NewGuid():N}", "v"u8.ToArray()));
        Assert.Equal(AppendOutcome.Committed, result.Outcome);
    }

    private static async Task FailsAsync(string url, DatastoreTls tls)
    {
        var refused = await Assert.ThrowsAsync<DatastoreOpenException>(() => DatastoreEndpoint.Parse(url, tls, "", "/").OpenAsync(NullLoggerFactory.Instance, CancellationToken.None));
        Assert.DoesNotContain("secret", refused.Message, StringComparison.Ordinal);
    }

    private string Named(string name) => Path.Combine(_folder, name);

    private void Own(string name, string user)
    {
        if (!Environment.IsPrivilegedProcess) return;
        using var chown = System.Diagnostics.Process.Start("chown", $"{user}:{user} {Named(name)}")!;
        chown.WaitForExit();
    }

    private void MakeAuthority(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(5));
        System.IO.File.WriteAllText(Named(name + ".crt"), certificate.ExportCertificatePem());
        System.IO.File.WriteAllText(Named(name + ".key"), key.ExportECPrivateKeyPem());
    }

    private void MakeLeaf(string name, string authority, bool isServer)
    {
        using var issuer = X509Certificate2.CreateFromPemFile(Named(authority + ".crt"), Named(authority + ".key"));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(isServer ? "1.3.6.1.5.5.7.3.1" : "1.3.6.1.5.5.7.3.2"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.Create(issuer, DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(4), RandomNumberGenerator.GetBytes(12));
        System.IO.File.WriteAllText(Named(name + ".crt"), certificate.ExportCertificatePem());
        System.IO.File.WriteAllText(Named(name + ".key"), key.ExportPkcs8PrivateKeyPem());
        System.IO.File.SetUnixFileMode(Named(name + ".key"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }
}
