using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Where a webhook is and how we show who we are, from a file in kubeconfig form: the current context's cluster and user. Files that it names are
/// read when it is read; relative names count from its own folder.
/// </summary>
internal sealed class WebhookKubeconfig
{
    private readonly X509Certificate2Collection? _authorities;
    private readonly X509Certificate2? _certificate;
    private readonly bool _skipsVerification;
    private readonly string _serverName;
    private readonly string? _authorization;
    private readonly string? _tokenFile;
    private readonly Uri? _proxy;

    private WebhookKubeconfig(string flag, string path, ApiNode root)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? "/";
        ApiStartFailure failure = (what) => new ApiServerStartException($"--{flag}: {path}: {what}");
        var context = Named(root["contexts"u8], root["current-context"u8].AsString(), "context"u8);
        // A file without contexts, as upstream's examples once were, means its only cluster and user.
        var cluster = Named(root["clusters"u8], context["cluster"u8].AsString(), "cluster"u8);
        var user = Named(root["users"u8], context["user"u8].AsString(), "user"u8);
        var server = cluster["server"u8].AsString();
        if (server.Length == 0)
            throw failure("invalid configuration: no server in the cluster of the current context");
        Server = Uri.TryCreate(server.Contains("://", StringComparison.Ordinal) ? server : "https://" + server, UriKind.Absolute, out var uri)
            ? uri
            : throw failure($"invalid configuration: server {GoText.Quote(server)} is no URL");

        byte[]? Data(ApiNode of, ReadOnlySpan<byte> inline, ReadOnlySpan<byte> file)
        {
            try
            {
                if (of[inline].Utf8.Length > 0)
                    return Convert.FromBase64String(of[inline].AsString());
                return of[file].Utf8.Length > 0 ? File.ReadAllBytes(Path.Combine(folder, of[file].AsString())) : null;
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException or FormatException)
            {
                throw failure($"{Encoding.UTF8.GetString(of[inline].Utf8.Length > 0 ? inline : file)}: {error.Message}");
            }
        }

        try
        {
            if (Data(cluster, "certificate-authority-data"u8, "certificate-authority"u8) is { } authorities)
            {
                _authorities = [];
                _authorities.ImportFromPem(Encoding.UTF8.GetString(authorities));
            }
            var certificate = Data(user, "client-certificate-data"u8, "client-certificate"u8);
            var key = Data(user, "client-key-data"u8, "client-key"u8);
            if (certificate is null != key is null)
                throw failure("invalid configuration: client-certificate and client-key must be given together");
            if (certificate is not null && key is not null)
                _certificate = X509Certificate2.CreateFromPem(Encoding.UTF8.GetString(certificate), Encoding.UTF8.GetString(key));
        }
        catch (Exception error) when (error is CryptographicException or ArgumentException)
        {
            throw failure($"certificate or key cannot be used: {error.Message}");
        }
        _skipsVerification = cluster["insecure-skip-tls-verify"u8].AsBool();
        _serverName = cluster["tls-server-name"u8].AsString();
        _proxy = cluster["proxy-url"u8].Utf8.Length > 0 ? new Uri(cluster["proxy-url"u8].AsString()) : null;
        if (!user["exec"u8].IsNullOrUndefined || !user["auth-provider"u8].IsNullOrUndefined)
            throw failure("exec and auth-provider credentials are not served: use a client certificate, a token, tokenFile, or user name and password");
        if (user["tokenFile"u8].Utf8.Length > 0)
            _tokenFile = Path.Combine(folder, user["tokenFile"u8].AsString());
        else if (user["token"u8].Utf8.Length > 0)
            _authorization = "Bearer " + user["token"u8].AsString();
        else if (user["username"u8].Utf8.Length > 0)
            _authorization = "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user["username"u8].AsString()}:{user["password"u8].AsString()}"));
    }

    private delegate ApiServerStartException ApiStartFailure(string what);

    internal Uri Server { get; }

    /// <exception cref="ApiServerStartException">The file, or one that it names, cannot be read or used.</exception>
    internal static WebhookKubeconfig Load(string flag, string path)
    {
        ApiObject document;
        try
        {
            document = YamlCodec.Decode(ConfigDocument.Load(flag, path), null, DecodeOptions.Default, null);
        }
        catch (Exception error) when (error is JsonSyntaxException or ApiStatusException)
        {
            throw new ApiServerStartException($"--{flag}: {path} is neither YAML nor JSON: {error.Message}", error);
        }
        using (document)
            return new WebhookKubeconfig(flag, path, document.Root);
    }

    /// <summary>What the Authorization header is to say; null for nothing. A token file is read anew, so that it may be renewed.</summary>
    internal string? Authorization => _tokenFile is null ? _authorization : "Bearer " + File.ReadAllText(_tokenFile).Trim();

    /// <summary>A handler that trusts and shows what the file says.</summary>
    internal SocketsHttpHandler CreateHandler()
    {
        var handler = new SocketsHttpHandler
        {
            UseCookies = false,
            AllowAutoRedirect = false,
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(90),
            ConnectTimeout = TimeSpan.FromSeconds(30),
            UseProxy = _proxy is not null,
            Proxy = _proxy is null ? null : new WebProxy(_proxy),
        };
        handler.SslOptions = TlsTrust.Options(_authorities, _skipsVerification);
        if (_serverName.Length > 0)
            handler.SslOptions.TargetHost = _serverName;
        if (_certificate is not null)
            handler.SslOptions.ClientCertificates = [_certificate];
        return handler;
    }

    private static ApiNode Named(ApiNode list, string name, ReadOnlySpan<byte> member)
    {
        foreach (var item in list.Elements)
        {
            if (name.Length == 0 && list.Count == 1 || name.Length > 0 && item["name"u8].AsString() == name)
                return item[member];
        }
        return default;
    }
}

/// <summary>Whom a TLS client of ours believes.</summary>
internal static class TlsTrust
{
    /// <summary>Trust in just these authorities; without any in the host's own; in everybody when verification is off.</summary>
    internal static SslClientAuthenticationOptions Options(X509Certificate2Collection? authorities, bool skipsVerification = false)
    {
        var options = new SslClientAuthenticationOptions();
        if (skipsVerification)
        {
            options.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        }
        else if (authorities is { Count: > 0 })
        {
            options.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            options.CertificateChainPolicy.CustomTrustStore.AddRange(authorities);
        }
        return options;
    }
}
