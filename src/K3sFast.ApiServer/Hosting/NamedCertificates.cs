using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>A serving certificate for clients that ask for some names.</summary>
/// <param name="CertificateFile">PEM: the certificate, then those that lead to its CA.</param>
/// <param name="KeyFile">PEM: its private key.</param>
/// <param name="Names">Names, wildcards (<c>*.example.com</c>) and addresses; none = the names that the certificate has.</param>
public sealed record NamedCertificate(string CertificateFile, string KeyFile, IReadOnlyList<string> Names);

/// <summary>
/// Which certificate a client is shown by the name that it asks for, as upstream has it: the name itself before a wildcard, names that were said before
/// those that a certificate has, the first of several. Files that change take effect for new connections.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class NamedCertificates
{
    private readonly IReadOnlyList<NamedCertificate> _wanted;
    private readonly SslStreamCertificateContext?[] _loaded;
    private readonly List<ReloadedFile> _files = [];
    private Dictionary<string, SslStreamCertificateContext> _byName = [];

    /// <exception cref="ApiServerStartException">A file cannot be read, or key and certificate do not belong together.</exception>
    internal NamedCertificates(IReadOnlyList<NamedCertificate> wanted, TimeProvider clock, ILogger logger)
    {
        _wanted = wanted;
        _loaded = new SslStreamCertificateContext?[wanted.Count];
        for (var i = 0; i < wanted.Count; i++)
        {
            var place = i;
            _loaded[i] = Load(wanted[i]);
            // Certificate and key are two files and change one after the other: until both have, they do not fit.
            foreach (var path in (string[])[wanted[i].CertificateFile, wanted[i].KeyFile])
                _files.Add(new ReloadedFile(path, [], (_, _) => Task.FromResult(TryReload(place)), clock, logger));
        }
        Name();
    }

    /// <summary>Follows the files until cancelled.</summary>
    internal IEnumerable<Task> Follow(CancellationToken cancel) => _files.Select(file => file.FollowAsync(cancel));

    /// <summary>The certificate for a name, or without one for the address that was connected to; null = the server's own.</summary>
    internal SslStreamCertificateContext? Find(string? serverName, IPAddress? local)
    {
        var names = Volatile.Read(ref _byName);
        if (string.IsNullOrEmpty(serverName))
            return local is null ? null : names.GetValueOrDefault((local.IsIPv4MappedToIPv6 ? local.MapToIPv4() : local).ToString());
        var name = serverName.ToLowerInvariant();
        if (names.TryGetValue(name, out var exact))
            return exact;
        var dot = name.IndexOf('.', StringComparison.Ordinal);
        return names.GetValueOrDefault(dot < 0 ? "*" : $"*{name[dot..]}");
    }

    private bool TryReload(int place)
    {
        try
        {
            _loaded[place] = Load(_wanted[place]);
            Name();
            return true;
        }
        catch (ApiServerStartException)
        {
            return false;
        }
    }

    private void Name()
    {
        Dictionary<string, SslStreamCertificateContext> said = [], found = [];
        for (var i = 0; i < _wanted.Count; i++)
        {
            var context = _loaded[i]!;
            foreach (var name in _wanted[i].Names)
                said.TryAdd(name.ToLowerInvariant(), context);
            if (_wanted[i].Names.Count == 0)
            {
                foreach (var name in NamesOf(context.TargetCertificate))
                    found.TryAdd(name.ToLowerInvariant(), context);
            }
        }
        foreach (var (name, context) in said)
            found[name] = context;
        Volatile.Write(ref _byName, found);
    }

    // Addresses are left out: who connects to one asks for no name.
    private static IEnumerable<string> NamesOf(X509Certificate2 certificate)
    {
        var common = certificate.GetNameInfo(X509NameType.SimpleName, forIssuer: false);
        if (common.Length > 0 && !IPAddress.TryParse(common, out _) && Uri.CheckHostName(common.StartsWith("*.", StringComparison.Ordinal) ? common[2..] : common) == UriHostNameType.Dns)
            yield return common;
        foreach (var extension in certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>())
        {
            foreach (var name in extension.EnumerateDnsNames())
                yield return name;
        }
    }

    private static SslStreamCertificateContext Load(NamedCertificate wanted)
    {
        try
        {
            using var pem = X509Certificate2.CreateFromPemFile(wanted.CertificateFile, wanted.KeyFile);
            var chain = new X509Certificate2Collection();
            chain.ImportFromPemFile(wanted.CertificateFile);
            // The platform's TLS wants a key of its own form.
            return SslStreamCertificateContext.Create(X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null), chain, offline: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or CryptographicException or ArgumentException)
        {
            throw new ApiServerStartException($"failed to load SNI cert and key {wanted.CertificateFile}, {wanted.KeyFile}: {error.Message}", error);
        }
    }
}
