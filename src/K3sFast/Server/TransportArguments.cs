using System.Net.Security;
using System.Security.Authentication;
using System.Text.RegularExpressions;
using K3sFast.ApiServer;
using K3sFast.Configuration;

namespace K3sFast.Server;

/// <summary>kube-apiserver's flags on TLS, on browsers, and on how a server is known and stops.</summary>
internal static class TransportArguments
{
    /// <exception cref="ConfigurationException">A value is wrong, in upstream's words.</exception>
    public static ApiServerOptions Apply(ApiServerOptions options, ComponentArguments arguments) => options with
    {
        ExternalHostname = arguments.Text("external-hostname"),
        AllowedOrigins = Origins(arguments),
        StrictTransportSecurity = StrictTransportSecurity(arguments),
        TlsVersions = TlsVersions(arguments.Text("tls-min-version")),
        CipherSuites = [.. arguments.Many("tls-cipher-suites").Select(CipherSuite)],
        NamedCertificates = [.. arguments.Many("tls-sni-cert-key", splits: false).Select(Named)],
        ShutdownDelay = arguments.Duration("shutdown-delay-duration", TimeSpan.Zero),
    };

    // certificate,key or certificate,key:name,name
    private static NamedCertificate Named(string text)
    {
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        var names = colon < 0 ? "" : text[(colon + 1)..].Trim();
        if (colon >= 0 && names.Length == 0)
            throw Wrong("empty names list is not allowed");
        var files = (colon < 0 ? text : text[..colon]).Split(',');
        if (files.Length != 2)
            throw Wrong("expected comma separated certificate and key file paths");
        return new NamedCertificate(files[0].Trim(), files[1].Trim(), [.. names.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)]);

        ConfigurationException Wrong(string why) => new($"invalid value \"{text}\" for tls-sni-cert-key in --kube-apiserver-arg: {why}");
    }

    private static SslProtocols TlsVersions(string oldest) => oldest switch
    {
        "" or "VersionTLS12" => SslProtocols.Tls12 | SslProtocols.Tls13,
        "VersionTLS13" => SslProtocols.Tls13,
        "VersionTLS10" or "VersionTLS11" => throw new ConfigurationException($"tls-min-version {oldest} is not served: TLS before 1.2 is not safe"),
        _ => throw new ConfigurationException($"unknown tls version \"{oldest}\""),
    };

    private static TlsCipherSuite CipherSuite(string name)
    {
        // Go's two names without the hash at their end.
        var full = name is "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" or "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" ? name + "_SHA256" : name;
        return Enum.TryParse<TlsCipherSuite>(full, out var suite) && Enum.IsDefined(suite) && !char.IsAsciiDigit(full[0])
            ? suite
            : throw new ConfigurationException($"Cipher suite {name} not supported or doesn't exist");
    }

    private static List<string> Origins(ComponentArguments arguments)
    {
        var patterns = arguments.Many("cors-allowed-origins");
        foreach (var pattern in patterns)
        {
            try
            {
                _ = new Regex(pattern, RegexOptions.CultureInvariant);
            }
            catch (ArgumentException error)
            {
                throw new ConfigurationException($"--cors-allowed-origins has an invalid regular expression: {error.Message}");
            }
            // A pattern that begins or ends anywhere also fits hosts of others.
            var isPinned = (pattern.Contains('^', StringComparison.Ordinal) || pattern.Contains("//", StringComparison.Ordinal))
                && (pattern.Contains('$', StringComparison.Ordinal) || pattern.Contains(':', StringComparison.Ordinal));
            if (!isPinned)
                throw new ConfigurationException("--cors-allowed-origins has an invalid regular expression: regular expression does not pin to start/end of host in the origin header");
        }
        return patterns;
    }

    private static string StrictTransportSecurity(ComponentArguments arguments)
    {
        var directives = arguments.Many("strict-transport-security-directives");
        foreach (var directive in directives)
        {
            if (string.IsNullOrWhiteSpace(directive))
                throw new ConfigurationException("empty value in strict-transport-security-directives");
            if (directive is not ("includeSubDomains" or "preload") && directive.Split('=') is not ["max-age", _])
            {
                throw new ConfigurationException(
                    "--strict-transport-security-directives invalid, allowed values: max-age=expireTime, includeSubDomains, preload. see https://tools.ietf.org/html/rfc6797#section-6.1 for more information");
            }
        }
        return string.Join("; ", directives);
    }
}
