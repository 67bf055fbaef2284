using System.Security.Cryptography;
using System.Text;
using K3sFast.Configuration;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using K3sFast.Server;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Tests.Server;

/// <summary>Servers that share a datastore are of one cluster, or say why they are not.</summary>
public sealed class ClusterBootstrapTests : IAsyncLifetime
{
    private readonly TemporaryFolder _folder = new();
    private SqliteDatastore _store = null!;

    public ValueTask InitializeAsync()
    {
        _store = SqliteDatastore.Open(new() { Path = Path.Combine(_folder.Path, "shared.db") });
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public void KeyOf_Token_IsKsOwn() => Assert.Equal("/bootstrap/" + Convert.ToHexStringLower(SHA256.HashData("secret"u8))[..12], ClusterBootstrap.KeyOf("secret"));

    [Fact]
    public void Decrypt_WhatWasEncrypted_ComesBack_AndWithAnotherTokenNot()
    {
        var value = ClusterBootstrap.Encrypt("secret", "the authorities"u8);
        Assert.Matches("^[0-9a-f]{16}:[A-Za-z0-9+/]+=*$", Encoding.ASCII.GetString(value));
        Assert.Equal("the authorities"u8.ToArray(), ClusterBootstrap.Decrypt("secret", value));
        Assert.ThrowsAny<CryptographicException>(() => ClusterBootstrap.Decrypt("other", value));
    }

    /// <summary>Made with OpenSSL's and Go's primitives: salt as text, PBKDF2-SHA1 of 4096 rounds, AES-256-GCM with a nonce of 12 bytes in front.</summary>
    [Fact]
    public void Decrypt_FormOfK3s_IsRead()
    {
        const string Salt = "0011223344556677";
        var key = Rfc2898DeriveBytes.Pbkdf2("K", Encoding.ASCII.GetBytes(Salt), 4096, HashAlgorithmName.SHA1, 32);
        byte[] nonce = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], text = "{}"u8.ToArray(), cipher = new byte[2], tag = new byte[16];
        using var aes = new AesGcm(key, 16);
        aes.Encrypt(nonce, text, cipher, tag);
        var value = Encoding.ASCII.GetBytes($"{Salt}:{Convert.ToBase64String([.. nonce, .. cipher, .. tag])}");
        Assert.Equal(text, ClusterBootstrap.Decrypt("K", value));
    }

    [Fact]
    public async Task Join_SecondServer_HasTheFirstOnesAuthoritiesAndKeys()
    {
        var first = await JoinAsync("a", "secret");
        var second = await JoinAsync("b", "secret");
        foreach (var file in new[] { "server-ca.crt", "server-ca.key", "client-ca.crt", "client-ca.key", "request-header-ca.crt", "request-header-ca.key", "service.key" })
            Assert.Equal(await File.ReadAllTextAsync(Path.Combine(first.Paths.Tls, file)), await File.ReadAllTextAsync(Path.Combine(second.Paths.Tls, file)));
        Assert.Equal(await File.ReadAllTextAsync(first.Paths.Token), await File.ReadAllTextAsync(second.Paths.Token));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(second.Paths.Tls, "server-ca.key")));
        // Again, from the same folder.
        await JoinAsync("b", "secret");
    }

    [Fact]
    public async Task Join_ManyAtOnce_AreOneCluster()
    {
        var servers = await Task.WhenAll(Enumerable.Range(0, 4).Select(i => Task.Run(() => JoinAsync($"s{i}", "secret"))));
        var authorities = servers.Select(server => File.ReadAllText(Path.Combine(server.Paths.Tls, "server-ca.crt"))).Distinct();
        Assert.Single(authorities);
    }

    [Fact]
    public async Task Join_AnotherToken_IsRefusedAndNothingIsChanged()
    {
        await JoinAsync("a", "secret");
        var before = _store.CurrentRevision;
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => JoinAsync("b", "other"));
        Assert.StartsWith("bootstrap data already found and encrypted with different token", refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, _store.CurrentRevision);
    }

    [Fact]
    public async Task Join_NoTokenAtTheSecond_IsRefused()
    {
        await JoinAsync("a", "");
        await Assert.ThrowsAsync<ConfigurationException>(() => JoinAsync("b", ""));
        // With the first one's token, whole or its secret alone, it joins.
        var token = (await File.ReadAllTextAsync(Config("a", "").Paths.Token)).Trim();
        await JoinAsync("c", token);
        await JoinAsync("d", token[(token.LastIndexOf(':') + 1)..]);
    }

    [Fact]
    public async Task Join_ServerWithAuthoritiesOfItsOwnThatAreNewer_IsRefused()
    {
        await JoinAsync("a", "secret");
        var stranger = Config("b", "secret");
        await File.WriteAllTextAsync(Path.Combine(stranger.Paths.Tls, "server-ca.crt"), "another");
        File.SetLastWriteTimeUtc(Path.Combine(stranger.Paths.Tls, "server-ca.crt"), DateTime.UtcNow.AddMinutes(5));
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => JoinAsync("b", "secret"));
        Assert.Contains("newer than datastore and could cause a cluster outage", refused.Message, StringComparison.Ordinal);
        Assert.Equal("another", await File.ReadAllTextAsync(Path.Combine(stranger.Paths.Tls, "server-ca.crt")));
    }

    private async Task<ServerConfig> JoinAsync(string name, string token)
    {
        var config = Config(name, token);
        using var pki = await new ClusterBootstrap(_store, config, NullLogger.Instance).JoinAsync(TestContext.Current.CancellationToken);
        return config;
    }

    private ServerConfig Config(string name, string token)
    {
        var folder = Path.Combine(_folder.Path, name);
        Directory.CreateDirectory(folder);
        string[] arguments = [
            "-d", folder, "--run-dir", Path.Combine(folder, "run"), "--node-ip=192.0.2.7", $"--node-name={name}", "-o", Path.Combine(folder, "k3s.yaml"),
            "--kubelet-arg=root-dir=" + Path.Combine(folder, "kubelet"), "--kubelet-arg=pod-logs-dir=" + Path.Combine(folder, "pods"),
            .. token.Length > 0 ? new[] { "--token=" + token } : [],
        ];
        var config = ServerConfig.From(FlagValues.Load(arguments, static variable => variable == "K3S_CONFIG_FILE" ? "/dev/null" : null));
        config.Paths.CreateDirectories();
        return config;
    }
}
