using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using K3sFast.Configuration;
using K3sFast.Datastore;
using K3sFast.Pki;
using Microsoft.Extensions.Logging;

namespace K3sFast.Server;

/// <summary>
/// The cluster's authorities and keys in the datastore that its servers share, as k3s keeps them: one value, encrypted with the token, under
/// <c>/bootstrap/</c> and a hash of the token. The first server puts them there; every other one finds them and is of the same cluster.
/// </summary>
internal sealed class ClusterBootstrap(IDatastore store, ServerConfig config, ILogger log) : IDatastoreVisitor
{
    private const string Prefix = "/bootstrap/";

    // k3s' names of what it keeps, and our files. A server without one of them makes it.
    private readonly (string Name, string Path)[] _files =
    [
        ("ServerCA", Path.Combine(config.Paths.Tls, "server-ca.crt")),
        ("ServerCAKey", Path.Combine(config.Paths.Tls, "server-ca.key")),
        ("ClientCA", Path.Combine(config.Paths.Tls, "client-ca.crt")),
        ("ClientCAKey", Path.Combine(config.Paths.Tls, "client-ca.key")),
        ("RequestHeaderCA", Path.Combine(config.Paths.Tls, "request-header-ca.crt")),
        ("RequestHeaderCAKey", Path.Combine(config.Paths.Tls, "request-header-ca.key")),
        ("ServiceKey", Path.Combine(config.Paths.Tls, "service.key")),
        ("PasswdFile", Path.Combine(config.Paths.Cred, "passwd")),
    ];

    private readonly List<(string Key, byte[] Value)> _found = [];

    /// <summary>Takes the cluster's authorities from the datastore, or makes them and puts them there.</summary>
    /// <exception cref="ConfigurationException">The token is not the cluster's, or this server has authorities of its own.</exception>
    public async Task<ClusterPki> JoinAsync(CancellationToken cancellationToken)
    {
        var secret = ServerToken.Settle(config.Paths, config.Token);
        var key = KeyOf(secret);
        // The second round is for who was second to write.
        for (var round = 0; ; round++)
        {
            var isKnown = await TryTakeAsync(key, secret, cancellationToken).ConfigureAwait(false);
            var pki = ClusterPki.Ensure(config, TimeProvider.System);
            if (isKnown)
                return pki;
            var value = Encrypt(secret, Pack());
            var written = await store.AppendAsync(AppendRequest.Create(key, value), cancellationToken).ConfigureAwait(false);
            // A server with another token may have been first as well: of two clusters in one datastore, the later one gives way.
            if (written.Outcome == AppendOutcome.Committed && await IsAloneAsync(key, written.Revision, cancellationToken).ConfigureAwait(false))
            {
                log.ClusterFounded();
                return pki;
            }
            pki.Dispose();
            if (written.Outcome == AppendOutcome.Committed)
            {
                await store.AppendAsync(AppendRequest.Delete(key, written.Revision), cancellationToken).ConfigureAwait(false);
                throw WrongToken();
            }
            if (round > 0)
                throw new ConfigurationException("the cluster's authorities could not be put into the datastore: it says that they are there, and shows none");
            // What we have just made is nobody's: the winner's takes its place.
            foreach (var (_, path) in _files)
                File.Delete(path);
        }
    }

    /// <inheritdoc/>
    void IDatastoreVisitor.OnEntry(in DatastoreEntry entry) => _found.Add((entry.Key, entry.Value.ToArray()));

    /// <summary>k3s' key of a token: the first 12 digits of its SHA-256.</summary>
    internal static string KeyOf(string secret) => Prefix + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(secret)))[..12];

    /// <summary>k3s' form: salt, colon, and in Base64 the nonce with what AES-256-GCM made; the key is PBKDF2-SHA1 of the token, 4096 rounds.</summary>
    internal static byte[] Encrypt(string secret, ReadOnlySpan<byte> text)
    {
        var salt = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
        using var aes = new AesGcm(KeyFor(secret, salt), TagBytes);
        var sealedText = new byte[NonceBytes + text.Length + TagBytes];
        RandomNumberGenerator.Fill(sealedText.AsSpan(0, NonceBytes));
        aes.Encrypt(sealedText.AsSpan(0, NonceBytes), text, sealedText.AsSpan(NonceBytes, text.Length), sealedText.AsSpan(NonceBytes + text.Length));
        return Encoding.ASCII.GetBytes($"{salt}:{Convert.ToBase64String(sealedText)}");
    }

    /// <summary>The other way. Throws <see cref="CryptographicException"/> or <see cref="FormatException"/> for what was not encrypted so.</summary>
    internal static byte[] Decrypt(string secret, ReadOnlySpan<byte> value)
    {
        var parts = Encoding.ASCII.GetString(value).Split(':');
        if (parts.Length != 2 || Convert.FromBase64String(parts[1]) is not { Length: >= NonceBytes + TagBytes } sealedText)
            throw new FormatException("it is not of the form salt:data");
        using var aes = new AesGcm(KeyFor(secret, parts[0]), TagBytes);
        var text = new byte[sealedText.Length - NonceBytes - TagBytes];
        aes.Decrypt(sealedText.AsSpan(0, NonceBytes), sealedText.AsSpan(NonceBytes, text.Length), sealedText.AsSpan(NonceBytes + text.Length), text);
        return text;
    }

    private const int NonceBytes = 12;
    private const int TagBytes = 16;

#pragma warning disable CA5379 // k3s' derivation, so that both read it.
    private static byte[] KeyFor(string secret, string salt) =>
        Rfc2898DeriveBytes.Pbkdf2(Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes(salt), 4096, HashAlgorithmName.SHA1, 32);
#pragma warning restore CA5379

    private async Task<bool> TryTakeAsync(string key, string secret, CancellationToken cancellationToken)
    {
        _found.Clear();
        await store.RangeAsync(new RangeRequest(Prefix), this, cancellationToken).ConfigureAwait(false);
        var ours = _found.Find(found => found.Key == key);
        if (ours.Value is null)
            return _found.Count == 0 ? false : throw WrongToken();
        try
        {
            Unpack(Decrypt(secret, ours.Value));
            log.ClusterJoined();
            return true;
        }
        catch (Exception error) when (error is CryptographicException or FormatException or JsonException)
        {
            throw new ConfigurationException($"the cluster's authorities in the datastore ({key}) cannot be read with this token: {error.Message}", error);
        }
    }

    private async Task<bool> IsAloneAsync(string key, long revision, CancellationToken cancellationToken)
    {
        _found.Clear();
        await store.RangeAsync(new RangeRequest(Prefix, revision), this, cancellationToken).ConfigureAwait(false);
        return _found.TrueForAll(found => found.Key == key);
    }

    /// <summary>{"ServerCA":{"Timestamp":…,"Content":Base64}, …}</summary>
    private byte[] Pack()
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            foreach (var (name, path) in _files)
            {
                if (!File.Exists(path))
                    continue;
                json.WriteStartObject(name);
                json.WriteString("Timestamp"u8, File.GetLastWriteTimeUtc(path));
                json.WriteBase64String("Content"u8, File.ReadAllBytes(path));
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        return stream.ToArray();
    }

    private void Unpack(byte[] text)
    {
        using var document = JsonDocument.Parse(text);
        foreach (var (name, path) in _files)
        {
            if (!document.RootElement.TryGetProperty(name, out var file) || !file.TryGetProperty("Content"u8, out var content) || content.ValueKind != JsonValueKind.String)
                continue;
            var bytes = content.GetBytesFromBase64();
            // The passwords are written anew from the token anyhow.
            if (bytes.Length == 0 || (File.Exists(path) && (name == "PasswdFile" || File.ReadAllBytes(path).AsSpan().SequenceEqual(bytes))))
                continue;
            if (File.Exists(path) && file.TryGetProperty("Timestamp"u8, out var stamp) && stamp.TryGetDateTimeOffset(out var at) && File.GetLastWriteTimeUtc(path) > at.UtcDateTime.AddSeconds(1))
            {
                throw new ConfigurationException(
                    $"{path} newer than datastore and could cause a cluster outage. Remove the file(s) from disk and restart to be recreated from datastore.");
            }
            PemFiles.WriteWhole(path, Encoding.UTF8.GetString(bytes), path.EndsWith(".crt", StringComparison.Ordinal)
                ? UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead
                : UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }
    }

    private static ConfigurationException WrongToken() => new(
        "bootstrap data already found and encrypted with different token: give every server of the cluster the same --token (it is in server/token of the first one's data directory)");
}
