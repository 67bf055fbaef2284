using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.AddOns.Dns;

/// <summary>Reads the forward plugin.</summary>
internal static class ForwardSetup
{
    // As CoreDNS.
    private const int MaxServers = 15;

    internal static ForwardPlugin Parse(CorefileDirective directive, DnsParts parts, CorefileFiles files)
    {
        if (directive.Arguments.Length < 2) throw directive.ArgumentError();
        var from = ZoneSet.Parse(directive.Arguments[0]).First();
        var settings = new UpstreamSettings { HealthFailures = parts.Metrics.HealthFailures };
        var options = new ForwardOptions { From = from, Upstreams = null! };
        string? serverName = null;
        string[]? tls = null;
        foreach (var line in directive.Lines)
        {
            switch (line.Words)
            {
                case ["except", .. { Length: > 0 } names]: options = options with { Except = new ZoneSet([.. options.Except.Zones, .. names.SelectMany(ZoneSet.Parse)]) }; break;
                case ["force_tcp"]: (options, settings) = (options with { ForceTcp = true }, settings with { ForceTcp = true }); break;
                case ["prefer_udp"]: options = options with { PreferUdp = true }; break;
                case ["expire", var text]: settings = settings with { Expire = CorefileDuration.Parse(text) }; break;
                case ["read_timeout", var text]: settings = settings with { ReadTimeout = CorefileDuration.Parse(text) }; break;
                case ["max_fails", var text]: settings = settings with { MaxFails = Number(line, text) }; break;
                case ["max_connect_attempts", var text]: options = options with { MaxConnectAttempts = Number(line, text) }; break;
                case ["max_concurrent", var text]: options = options with { MaxConcurrent = Number(line, text) }; break;
                case ["policy", var word]:
                    options = options with { Policy = word switch { "random" => UpstreamPolicy.Random, "round_robin" => UpstreamPolicy.RoundRobin, "sequential" => UpstreamPolicy.Sequential, _ => throw line.Error($"unknown policy '{word}'") } };
                    break;
                case ["tls", .. { Length: <= 3 } words]: tls = words; break;
                case ["tls_servername", var name]: serverName = name; break;
                case ["health_check", var interval, .. var rest]: settings = HealthCheck(line, settings with { HealthInterval = CorefileDuration.Parse(interval) }, rest); break;
                case ["next", .. { Length: > 0 } codes]: options = options with { Next = Codes(line, codes) }; break;
                case ["next_on_nodata"]: options = options with { NextOnNoData = true }; break;
                case ["failover", .. { Length: > 0 } codes]: options = options with { Failover = Codes(line, codes) }; break;
                case ["failfast_all_unhealthy_upstreams"]: options = options with { FailsFast = true }; break;
                default: throw DnsConfigBuilder.UnknownProperty(line);
            }
        }
        settings = settings with { Tls = Tls(directive, tls, serverName, files) };
        var (named, hosts) = (new List<Upstream>(), new List<ResolvConf>());
        foreach (var to in directive.Arguments.Skip(1)) AddServer(directive, to, settings, parts, named, hosts);
        if (named.Count > MaxServers) throw directive.Error($"more than {MaxServers} TOs configured: {named.Count}");
        options = options with { Upstreams = new UpstreamList(named, hosts, server => new Upstream(server, UpstreamTransport.Udp, settings)) };
        return new ForwardPlugin(options, parts.Metrics, parts.Time, parts.Logger);
    }

    // address[:port], dns://..., tls://address[%name][:port], or a resolver file
    private static void AddServer(CorefileDirective directive, string to, UpstreamSettings settings, DnsParts parts, List<Upstream> named, List<ResolvConf> hosts)
    {
        if (to == CorefileFiles.ResolvConf)
        {
            hosts.Add(parts.ResolvConf);
            return;
        }
        var (transport, port, text) = (UpstreamTransport.Udp, 53, to);
        if (text.StartsWith("dns://", StringComparison.Ordinal)) text = text[6..];
        else if (text.StartsWith("tls://", StringComparison.Ordinal)) (transport, port, text) = (UpstreamTransport.Tls, 853, text[6..]);
        else if (text.Contains("://", StringComparison.Ordinal)) throw directive.Error($"'{to}': only dns:// and tls:// are part of the built-in DNS");
        if (transport == UpstreamTransport.Tls && text.IndexOf('%', StringComparison.Ordinal) is > 0 and var percent)
        {
            var rest = text[(percent + 1)..];
            var colon = rest.LastIndexOf(':');
            var name = colon < 0 ? rest : rest[..colon];
            settings = settings with { Tls = server => Named(settings.Tls!(server), name) };
            text = text[..percent] + (colon < 0 ? "" : rest[colon..]);
        }
        if (IPAddress.TryParse(text, out var address) && !text.StartsWith('[')) named.Add(new Upstream(new IPEndPoint(address, port), transport, settings));
        else if (IPEndPoint.TryParse(text, out var server)) named.Add(new Upstream(server.Port == 0 ? new IPEndPoint(server.Address, port) : server, transport, settings));
        else throw directive.Error($"not an IP address or file: \"{to}\"");
    }

    private static SslClientAuthenticationOptions Named(SslClientAuthenticationOptions options, string name)
    {
        options.TargetHost = name;
        return options;
    }

    // tls [CA] | CERT KEY [CA]: keys of the ConfigMaps
    private static Func<IPEndPoint, SslClientAuthenticationOptions> Tls(CorefileDirective directive, string[]? words, string? serverName, CorefileFiles files)
    {
        string Pem(string path) => files.Read(path) ?? throw directive.Error($"open {path}: no such file or directory (files are the keys of ConfigMaps coredns and coredns-custom in kube-system)");
        X509Certificate2Collection? authorities = null;
        X509CertificateCollection? own = null;
        try
        {
            if (words is { Length: 1 or 3 })
            {
                authorities = [];
                authorities.ImportFromPem(Pem(words[^1]));
            }
            if (words is [var certificate, var key, ..]) own = [X509Certificate2.CreateFromPem(Pem(certificate), Pem(key))];
        }
        catch (System.Security.Cryptography.CryptographicException wrong)
        {
            throw directive.Error($"tls: {wrong.Message}");
        }
        return server =>
        {
            var options = new SslClientAuthenticationOptions
            {
                TargetHost = serverName ?? server.Address.ToString(),
                EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                ClientCertificates = own,
            };
            if (authorities is null) return options;
            options.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            options.CertificateChainPolicy.CustomTrustStore.AddRange(authorities);
            return options;
        };
    }

    private static UpstreamSettings HealthCheck(CorefileLine line, UpstreamSettings settings, string[] words)
    {
        for (var i = 0; i < words.Length; i++)
        {
            if (words[i] == "no_rec") settings = settings with { HealthIsRecursive = false };
            else if (words[i] == "domain" && ++i < words.Length) settings = settings with { HealthDomain = WireName.Encode(words[i]) ?? throw line.Error($"health_check: invalid domain name {words[i]}") };
            else throw line.Error($"health_check: unknown option {words[Math.Min(i, words.Length - 1)]}");
        }
        return settings;
    }

    private static List<DnsCode> Codes(CorefileLine line, string[] words) =>
        [.. words.Select(word => DnsWords.TryCode(word, out var code) && code != DnsCode.NoError ? code : throw line.Error($"{word} is not a valid rcode"))];

    private static int Number(CorefileLine line, string word) =>
        int.TryParse(word, out var number) && number >= 0 ? number : throw line.Error($"\"{word}\" is no number");
}
