using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using K3sFast.Configuration;
using K3sFast.Pki;
using Microsoft.Extensions.Logging;

namespace K3sFast.Agent;

/// <summary>Asks a server's supervisor, after its CA has been found to be the one that the token is for.</summary>
/// <remarks>Any thread. A connection per call, as in k3s: calls are few.</remarks>
internal sealed class SupervisorClient
{
    private static readonly TimeSpan s_connectTimeout = TimeSpan.FromSeconds(10);
    // A small server to which many nodes come at once hashes one password after the other.
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(60);

    private readonly Uri _server;
    private readonly JoinToken _token;
    private readonly X509Certificate2Collection? _authorities;

    private SupervisorClient(Uri server, JoinToken token, X509Certificate2Collection? authorities) => (_server, _token, _authorities) = (server, token, authorities);

    /// <summary>Fetches the CA of <paramref name="server"/> and holds it against the token.</summary>
    /// <exception cref="ConfigurationException">The CA is not the token's.</exception>
    /// <exception cref="HttpRequestException">No answer.</exception>
    public static async Task<SupervisorClient> ConnectAsync(Uri server, JoinToken token, ILogger log, CancellationToken cancellationToken)
    {
        // A server whose certificate the host trusts anyway needs no pinning: k3s' rule.
        if (await IsTrustedByHostAsync(server, cancellationToken).ConfigureAwait(false))
        {
            if (token.CaHash.Length > 0)
                log.CaTrustedByHost();
            return new(server, token, null);
        }
        var pem = await GetAsync(server, "/cacerts", Handler(null, trustsAnybody: true), null, cancellationToken).ConfigureAwait(false);
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPem(Encoding.UTF8.GetString(pem));
        }
        catch (CryptographicException e)
        {
            throw new ConfigurationException($"{server} is not a k3s server: its /cacerts is no certificate ({e.Message})", e);
        }
        if (authorities.Count == 0)
            throw new ConfigurationException($"{server} is not a k3s server: its /cacerts has no certificate");
        if (token.CaHash.Length == 0)
        {
            log.CaNotPinned();
        }
        else if (HashOf(pem, authorities) is var hash && hash != token.CaHash)
        {
            throw new ConfigurationException(
                $"token CA hash does not match the Cluster CA certificate hash: {token.CaHash} != {hash}: {server} is not the cluster that the token is for, or somebody is between; use the token in server/node-token of that server");
        }
        var client = new SupervisorClient(server, token, authorities);
        try
        {
            await client.GetAsync("/ping", cancellationToken).ConfigureAwait(false);
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.SecureConnectionError)
        {
            throw new ConfigurationException($"CA cert validation failed: the certificate of {server} is not signed by the CA that it shows, or does not name {server.Host} (add it by --tls-san on the server): {e.InnerException?.Message ?? e.Message}", e);
        }
        return client;
    }

    /// <summary>What k3s hashes of a CA file: its bytes when it holds one certificate, its root's DER when it holds a chain.</summary>
    public static string HashOf(ReadOnlySpan<byte> pem, X509Certificate2Collection certificates) =>
        Convert.ToHexStringLower(SHA256.HashData(certificates.Count == 1 ? pem : RootOf(certificates).RawDataMemory.Span));

    /// <summary>One answer; a refusal throws.</summary>
    /// <exception cref="ServerRefusedException">Not 200.</exception>
    public Task<byte[]> GetAsync(string path, CancellationToken cancellationToken) =>
        GetAsync(_server, path, Handler(_authorities, trustsAnybody: false), _token.Authorization, cancellationToken);

    /// <summary>A certificate for a key of ours, with its CA's chain, in PEM.</summary>
    /// <param name="name">File name, without extension, k3s's.</param>
    /// <param name="key">The private key; it stays here.</param>
    /// <param name="node">Who asks; the password proves it.</param>
    /// <param name="identity">The node's certificate, which is shown instead of the token; null: there is none.</param>
    /// <exception cref="ServerRefusedException">Not 200.</exception>
    public async Task<string> SignAsync(string name, ECDsa key, NodeIdentity node, X509Certificate2? identity, CancellationToken cancellationToken)
    {
        var signing = new CertificateRequest("CN=k3sfast", key, HashAlgorithmName.SHA256).CreateSigningRequest();
        using var handler = Handler(_authorities, trustsAnybody: false);
        if (identity is not null)
            handler.SslOptions.ClientCertificates = [identity];
        using var http = new HttpClient(handler, disposeHandler: false) { Timeout = s_timeout };
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_server, $"/v1-k3s/{name}.crt")) { Content = new ByteArrayContent(signing) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        if (identity is null)
            request.Headers.TryAddWithoutValidation("Authorization", _token.Authorization);
        request.Headers.Add("k3s-Node-Name", node.Name);
        request.Headers.Add("k3s-Node-Password", node.Password);
        request.Headers.Add("k3s-Node-IP", string.Join(',', node.Addresses));
        return Encoding.UTF8.GetString(await ReadAsync(http, request, cancellationToken).ConfigureAwait(false));
    }

    private static X509Certificate2 RootOf(X509Certificate2Collection certificates)
    {
        foreach (var certificate in certificates)
        {
            if (certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData))
                return certificate;
        }
        return certificates[^1];
    }

    private static async Task<bool> IsTrustedByHostAsync(Uri server, CancellationToken cancellationToken)
    {
        try
        {
            await GetAsync(server, "/cacerts", Handler(null, trustsAnybody: false), null, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.SecureConnectionError)
        {
            return false;
        }
    }

    private static async Task<byte[]> GetAsync(Uri server, string path, SocketsHttpHandler handler, string? authorization, CancellationToken cancellationToken)
    {
        using var http = new HttpClient(handler) { Timeout = s_timeout };
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(server, path));
        if (authorization is not null)
            request.Headers.TryAddWithoutValidation("Authorization", authorization);
        return await ReadAsync(http, request, cancellationToken).ConfigureAwait(false);
    }

    private static async Task<byte[]> ReadAsync(HttpClient http, HttpRequestMessage request, CancellationToken cancellationToken)
    {
        using var response = await http.SendAsync(request, cancellationToken).ConfigureAwait(false);
        var body = await response.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false);
        return response.IsSuccessStatusCode ? body : throw new ServerRefusedException((int)response.StatusCode, MessageOf(body) ?? response.ReasonPhrase ?? "");
    }

    private static string? MessageOf(byte[] status)
    {
        try
        {
            using var document = JsonDocument.Parse(status);
            return document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty("message", out var message) ? message.GetString() : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static SocketsHttpHandler Handler(X509Certificate2Collection? authorities, bool trustsAnybody)
    {
        var handler = new SocketsHttpHandler { UseProxy = false, ConnectTimeout = s_connectTimeout };
        if (trustsAnybody)
        {
            // Only for fetching the CA, whose hash is what is believed; nothing secret is sent.
            handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        }
        else if (authorities is not null)
        {
            handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            handler.SslOptions.CertificateChainPolicy.CustomTrustStore.AddRange(authorities);
        }
        return handler;
    }
}

/// <summary>Who a node says that it is.</summary>
internal sealed record NodeIdentity(string Name, string Password, IReadOnlyList<System.Net.IPAddress> Addresses);
