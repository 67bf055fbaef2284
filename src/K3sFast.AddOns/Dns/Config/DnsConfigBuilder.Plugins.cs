using System.Globalization;
using System.Net;
using K3sFast.Client;

namespace K3sFast.AddOns.Dns;

// The plugins whose words are few.
internal sealed partial class DnsConfigBuilder
{
    private static readonly string[] s_logClasses = ["all", "success", "denial", "error"];

    private static int BufferSize(CorefileDirective directive)
    {
        NoMoreThan(directive, 1);
        if (directive.Arguments.Length == 0) return DnsMessage.LargestUdpSize;
        return int.TryParse(directive.Arguments[0], out var size) && size is >= 512 and <= 4096 ? size : throw directive.Error("bufsize must be within 512 - 4096");
    }

    private static bool HasPrefix(CorefileDirective directive)
    {
        var has = true;
        foreach (var line in directive.Lines)
        {
            if (line.Words is not ["localhost_prefix", ("on" or "off") and var word]) throw UnknownProperty(line);
            has = word == "on";
        }
        return has;
    }

    private static Dns64Plugin ParseDns64(CorefileDirective directive)
    {
        var text = directive.Arguments.Length switch { 0 => "64:ff9b::/96", 1 => directive.Arguments[0], _ => throw directive.ArgumentError() };
        var (all, allowsV4) = (false, false);
        foreach (var line in directive.Lines)
        {
            switch (line.Words)
            {
                case ["prefix", var prefix]: text = prefix; break;
                case ["translate_all"]: all = true; break;
                case ["allow_ipv4"]: allowsV4 = true; break;
                default: throw UnknownProperty(line);
            }
        }
        return Dns64Plugin.TryPrefix(text, out var bytes, out var length)
            ? new Dns64Plugin(bytes, length, all, allowsV4) : throw directive.Error($"invalid prefix {text}: must be IPv6 of 32, 40, 48, 56, 64 or 96 bits");
    }

    private static LoadBalancePlugin ParseLoadBalance(CorefileDirective directive)
    {
        if (directive.Arguments is not ([] or ["round_robin"])) throw directive.Error($"policy '{directive.Arguments[0]}' is not part of the built-in DNS: only round_robin");
        if (directive.Lines.Count > 0) throw UnknownProperty(directive.Lines[0]);
        return new LoadBalancePlugin();
    }

    // autopath [ZONE...] RESOLV-CONF | @kubernetes
    private AutoPathPlugin ParseAutoPath(CorefileDirective directive, BlockContext context)
    {
        if (directive.Arguments.Length == 0) throw directive.ArgumentError();
        var counter = _parts.Metrics.AutoPathSuccesses.With(context.Server);
        var zones = context.Zones(directive.Arguments[..^1]);
        var host = _parts.ResolvConf;
        var domain = WireName.Encode(_parts.Options.ClusterDomain)!;
        var source = directive.Arguments[^1];
        if (source == CorefileFiles.ResolvConf) return new AutoPathPlugin(zones, _ => [.. host.Search, [0]], counter);
        if (source != "@kubernetes") throw directive.Error($"only @kubernetes and {CorefileFiles.ResolvConf} can tell a search path, not '{source}'");
        _needsPods = true;
        var records = _parts.Records;
        return new AutoPathPlugin(zones, exchange =>
        {
            Span<byte> address = stackalloc byte[16];
            var size = exchange.ReadClient(address);
            if (records.NamespaceOfPod(AddressKey.Of(address[..size])) is not { } label) return [];
            byte[] services = [.. "\u0003svc"u8, .. domain];
            return [[.. label, .. services], services, domain, .. host.Search, [0]];
        }, counter);
    }

    private AclPlugin ParseAcl(CorefileDirective directive, BlockContext context)
    {
        var rules = new List<AclRule>();
        foreach (var line in directive.Lines)
        {
            var action = line.Words[0] switch
            {
                "allow" => AclAction.Allow,
                "block" => AclAction.Block,
                "filter" => AclAction.Filter,
                "drop" => AclAction.Drop,
                _ => throw line.Error($"unexpected token '{line.Words[0]}'; expect 'allow', 'block', 'filter' or 'drop'"),
            };
            var (types, networks, section) = (new List<DnsType>(), new List<IPNetwork>(), "");
            foreach (var word in line.Words.Skip(1))
            {
                if (word is "type" or "net") section = word;
                else if (section.Length == 0) throw line.Error($"unexpected token '{word}'; expect 'type' or 'net'");
                else if (word == "*") continue;
                else if (section == "type") types.Add(DnsWords.TryType(word, out var type) ? type : throw line.Error($"unexpected token '{word}'; expect legal QTYPE"));
                else networks.Add(Network(word) ?? throw line.Error($"illegal CIDR notation '{word}'"));
            }
            rules.Add(new AclRule(action, types, networks));
        }
        var metrics = _parts.Metrics;
        return new AclPlugin(context.Zones(directive.Arguments), rules, action => action switch
        {
            AclAction.Allow => metrics.AclAllowed.With(context.Server, ""),
            AclAction.Block => metrics.AclBlocked.With(context.Server, context.ZoneText, ""),
            AclAction.Filter => metrics.AclFiltered.With(context.Server, context.ZoneText, ""),
            _ => metrics.AclDropped.With(context.Server, context.ZoneText, ""),
        });
    }

    private static IPNetwork? Network(string text)
    {
        if (IPNetwork.TryParse(text, out var network)) return network;
        return IPAddress.TryParse(text, out var address) ? new IPNetwork(address, address.GetAddressBytes().Length * 8) : null;
    }

    private static HeaderPlugin ParseHeader(CorefileDirective directive)
    {
        var rules = new List<(bool, bool, string)>();
        foreach (var line in directive.Lines)
        {
            if (line.Words is not [("query" or "response") and var selector, ("set" or "clear") and var action, .. { Length: > 0 } flags])
            {
                throw line.Error("expected: query|response set|clear FLAGS...");
            }
            foreach (var flag in flags)
            {
                if (flag is not ("aa" or "ra" or "rd")) throw line.Error($"unknown/unsupported flag {flag}");
                rules.Add((selector == "query", action == "set", flag));
            }
        }
        return new HeaderPlugin(rules);
    }

    private HostsPlugin ParseHosts(CorefileDirective directive, BlockContext context)
    {
        var path = directive.Arguments.Length > 0 ? directive.Arguments[0] : "/etc/hosts";
        var lines = new List<string>();
        var (ttl, hasReverse, fall, unsupported) = (3600u, true, FallThrough.Never, false);
        foreach (var line in directive.Lines)
        {
            switch (line.Words)
            {
                case ["ttl", var seconds]: ttl = Seconds(line, seconds, 65535); break;
                case ["no_reverse"]: hasReverse = false; break;
                // Files are followed through the API: no need to look every so often.
                case ["reload", var interval]: CorefileDuration.Parse(interval); break;
                case ["fallthrough", .. var zones]: fall = FallThrough.For(zones); break;
                case ["fallthrough_unsupported"]: unsupported = true; break;
                default:
                    if (!IPAddress.TryParse(line.Words[0], out _)) throw UnknownProperty(line);
                    lines.Add(string.Join(' ', line.Words));
                    break;
            }
        }
        var file = _files.Read(path);
        if (file is null && path != "/etc/hosts") _warnings.Add($"{directive.File}:{directive.Line}: hosts file {path} is not there");
        if (file is not null) lines.AddRange(file.Split('\n'));
        var plugin = new HostsPlugin(context.Zones(directive.Arguments.Skip(1)), lines, ttl, hasReverse, fall, unsupported);
        _parts.Metrics.HostsEntries.Set(plugin.Count);
        return plugin;
    }

    private IEnumerable<Plugin> ParseFile(CorefileDirective directive, BlockContext context)
    {
        if (directive.Arguments.Length == 0) throw directive.ArgumentError();
        var fall = FallThrough.Never;
        foreach (var line in directive.Lines)
        {
            switch (line.Words)
            {
                case ["reload", var interval]: CorefileDuration.Parse(interval); break;
                case ["upstream", ..]: break;
                case ["fallthrough", .. var zones]: fall = FallThrough.For(zones); break;
                default: throw UnknownProperty(line);
            }
        }
        var path = directive.Arguments[0];
        var text = _files.Read(path) ?? throw directive.Error($"open {path}: no such file or directory (files are the keys of ConfigMaps coredns and coredns-custom in kube-system)");
        return [.. context.Zones(directive.Arguments.Skip(1)).Zones.Select(zone =>
        {
            try
            {
                return new FilePlugin(zone, ZoneFile.Parse(text, zone), fall);
            }
            catch (FormatException wrong)
            {
                throw directive.Error($"{path}: {wrong.Message}");
            }
        })];
    }

    private KubernetesPlugin ParseKubernetes(CorefileDirective directive, BlockContext context)
    {
        var zones = context.Zones(directive.Arguments);
        var options = new KubernetesOptions
        {
            Zones = zones,
            PrimaryZone = zones.Zones.FirstOrDefault(static zone => !WireName.IsWithin(zone, "\u0004arpa\0"u8)) ?? throw directive.Error("non-reverse zone name must be used"),
            NameServers = [.. _parts.Options.ClusterDns.Select(static address => address.GetAddressBytes())],
        };
        foreach (var line in directive.Lines)
        {
            options = line.Words switch
            {
                ["pods", "disabled"] => options with { Pods = PodMode.Disabled },
                ["pods", "insecure"] => options with { Pods = PodMode.Insecure },
                ["pods", "verified"] => options with { Pods = PodMode.Verified },
                ["pods", var mode] => throw line.Error($"wrong value for pods: {mode},  must be one of: disabled, verified, insecure"),
                ["ttl", var ttl] => options with { TtlSeconds = Seconds(line, ttl, 3600) },
                ["fallthrough", .. var names] => options with { FallThrough = FallThrough.For(names) },
                ["namespaces", .. { Length: > 0 } names] => options with { Namespaces = [.. names.Select(ClusterRecords.Label)] },
                ["namespace_labels", .. { Length: > 0 } selector] => options with { NamespaceLabels = SelectorText.Parse(string.Join(' ', selector)) },
                ["labels", .. { Length: > 0 } selector] => options with { Labels = SelectorText.Parse(string.Join(' ', selector)) },
                ["noendpoints"] => options with { HasNoEndpoints = true },
                ["ignore", "empty_service"] => options with { IgnoresEmptyServices = true },
                // How the API is reached is not the Corefile's matter here: it is this cluster's, in this process or by this node's credentials.
                ["endpoint" or "tls" or "kubeconfig" or "apiserver_qps" or "apiserver_burst" or "apiserver_max_inflight" or "startup_timeout", ..] => Ignore(options, line),
                _ => throw UnknownProperty(line),
            };
        }
        _needsPods |= options.Pods == PodMode.Verified;
        return new KubernetesPlugin(options, _parts.Records);
    }

    private KubernetesOptions Ignore(KubernetesOptions options, CorefileLine line)
    {
        _warnings.Add($"{line.File}:{line.Number}: '{line.Words[0]}' has no effect: the built-in DNS always serves its own cluster");
        return options;
    }

    private (ZoneSet, string, IReadOnlyList<string>) ParseLog(CorefileDirective directive, BlockContext context)
    {
        var (names, format) = (directive.Arguments.ToList(), LogPlugin.Common);
        if (names.Count > 0 && names[^1].Contains('{', StringComparison.Ordinal))
        {
            format = names[^1].Replace("{common}", LogPlugin.Common, StringComparison.Ordinal).Replace("{combined}", LogPlugin.Combined, StringComparison.Ordinal);
            names.RemoveAt(names.Count - 1);
        }
        var classes = new List<string>();
        foreach (var line in directive.Lines)
        {
            if (line.Words is not ["class", .. { Length: > 0 } words]) throw UnknownProperty(line);
            foreach (var word in words) classes.Add(s_logClasses.Contains(word) ? word : throw line.Error($"invalid Class: {word}"));
        }
        return (context.Zones(names), format, classes);
    }

    private static uint Seconds(CorefileLine line, string word, uint max) =>
        uint.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds <= max
            ? seconds : throw line.Error($"ttl must be in range [0, {max}]: {word}");
}
