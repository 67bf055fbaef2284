using System.Net;
using K3sFast.Client;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>What plugins stand on, the same for every configuration.</summary>
internal sealed record DnsParts(DnsOptions Options, ClusterRecords Records, DnsMetrics Metrics, DnsEngineReference Engine, TimeProvider Time, ILogger Logger)
{
    /// <summary>The host's resolvers: what /etc/resolv.conf means in a Corefile.</summary>
    internal required ResolvConf ResolvConf { get; init; }
}

/// <summary>Makes a configuration of a Corefile and the files beside it.</summary>
internal sealed partial class DnsConfigBuilder
{
    // Plugins are asked in this order, whatever the Corefile's: CoreDNS' plugin.cfg. Only cache stands lower, right above those that it is for:
    // what the cluster knows itself is answered as it is now.
    private static readonly string[] s_order =
    [
        "cancel", "reload", "nsid", "bufsize", "debug", "ready", "health", "prometheus", "errors", "log", "local", "dns64", "any", "chaos", "loadbalance",
        "rewrite", "autopath", "acl", "header", "minimal", "template", "hosts", "kubernetes", "file", "cache", "loop", "forward", "whoami",
    ];

    // Those of CoreDNS that are not built in: told apart from words that are no plugin at all.
    private static readonly string[] s_missing =
    [
        "root", "metadata", "geoip", "proxyproto", "quic", "grpc_server", "https", "https3", "timeouts", "multisocket", "bind", "trace", "pprof", "shed", "dnstap",
        "tsig", "dnssec", "tls", "transfer", "route53", "azure", "clouddns", "k8s_external", "auto", "secondary", "etcd", "grpc", "erratic", "on", "sign",
        "view", "nomad",
    ];

    private readonly DnsParts _parts;
    private readonly CorefileFiles _files;
    private readonly List<string> _warnings = [];
    private StatusAddress? _health;
    private StatusAddress? _ready;
    private StatusAddress? _prometheus;
    private TimeSpan _lameDuck;
    private bool _reloads;
    private bool _needsPods;

    private DnsConfigBuilder(DnsParts parts, CorefileFiles files) => (_parts, _files) = (parts, files);

    /// <summary>The configuration that a Corefile asks for; not started. <paramref name="warnings"/> are worth a line in the log each.</summary>
    /// <exception cref="CorefileException">It cannot be served; the message names place and reason.</exception>
    internal static DnsConfig Build(string corefile, CorefileFiles files, DnsParts parts, out IReadOnlyList<string> warnings)
    {
        var builder = new DnsConfigBuilder(parts, files);
        var blocks = Corefile.Parse(corefile, files, out var emptyImports);
        warnings = builder._warnings;
        foreach (var pattern in emptyImports)
        {
            // k3s' own imports match nothing until somebody adds a ConfigMap.
            if (!pattern.StartsWith(CorefileFiles.CustomDirectory, StringComparison.Ordinal)) builder._warnings.Add($"No files matching import glob pattern: {pattern}");
        }
        return builder.Build(blocks);
    }

    private DnsConfig Build(List<CorefileBlock> blocks)
    {
        var built = new List<ServerBlock>();
        try
        {
            var seen = new HashSet<(int, string)>();
            foreach (var block in blocks)
            {
                var keys = block.Keys.Select(key => ParseKey(block, key)).ToList();
                foreach (var (port, zones) in keys)
                {
                    foreach (var zone in zones)
                    {
                        if (!seen.Add((port, NameText.Of(zone)))) throw new CorefileException(block.File, block.Line, $"cannot serve dns://{NameText.Of(zone)}:{port} - it is already defined");
                        built.Add(BuildBlock(block, port, zone));
                    }
                }
            }
            if (built.Count == 0) throw new CorefileException("Corefile:1 - Error during parsing: no server block");
        }
        catch
        {
            foreach (var block in built) block.Dispose();
            throw;
        }
        return new DnsConfig(built) { Reloads = _reloads, Health = _health, LameDuck = _lameDuck, Ready = _ready, Metrics = _prometheus, NeedsPods = _needsPods };
    }

    // [dns://]zone[:port]
    private static (int Port, List<byte[]> Zones) ParseKey(CorefileBlock block, string key)
    {
        var text = key;
        var scheme = text.IndexOf("://", StringComparison.Ordinal);
        if (scheme >= 0)
        {
            if (text[..scheme] != "dns") throw new CorefileException(block.File, block.Line, $"the built-in DNS does not listen for {text[..scheme]}:// (in \"{key}\")");
            text = text[(scheme + 3)..];
        }
        var port = 53;
        var colon = text.LastIndexOf(':');
        if (colon >= 0)
        {
            if (!int.TryParse(text[(colon + 1)..], out port) || port is < 1 or > 65535) throw new CorefileException(block.File, block.Line, $"invalid port in \"{key}\"");
            text = text[..colon];
        }
        try
        {
            return (port, [.. ZoneSet.Parse(text.Length == 0 ? "." : text)]);
        }
        catch (FormatException wrong)
        {
            throw new CorefileException(block.File, block.Line, wrong.Message);
        }
    }

    private ServerBlock BuildBlock(CorefileBlock source, int port, byte[] zone)
    {
        var server = $"dns://:{port}";
        var context = new BlockContext(port, zone, server, NameText.Of(zone));
        var plugins = new List<(int Order, Plugin Plugin)>();
        var names = new List<string>();
        try
        {
            var rewrites = new List<RewriteRule>();
            var logs = new List<(ZoneSet, string, IReadOnlyList<string>)>();
            foreach (var directive in source.Directives)
            {
                var order = Array.IndexOf(s_order, directive.Name);
                if (order < 0)
                {
                    throw directive.Error(s_missing.Contains(directive.Name)
                        ? $"plugin '{directive.Name}' is not part of the built-in DNS" : $"Unknown directive '{directive.Name}'");
                }
                if (!names.Contains(directive.Name)) names.Add(directive.Name);
                try
                {
                    if (directive.Name == "rewrite") rewrites.Add(RewriteSetup.Parse(directive));
                    else if (directive.Name == "log") logs.Add(ParseLog(directive, context));
                    else if (Make(directive, context) is { } made) plugins.AddRange(made.Select(plugin => (order, plugin)));
                }
                catch (FormatException wrong)
                {
                    throw directive.Error(wrong.Message);
                }
            }
            if (rewrites.Count > 0) plugins.Add((Array.IndexOf(s_order, "rewrite"), new RewritePlugin(rewrites)));
            if (logs.Count > 0) plugins.Add((Array.IndexOf(s_order, "log"), new LogPlugin(logs, _parts.Options.NodeIPs[0], _parts.Logger)));
        }
        catch
        {
            foreach (var (_, plugin) in plugins) plugin.Dispose();
            throw;
        }
        return new ServerBlock(port, zone, [.. plugins.OrderBy(static entry => entry.Order).Select(static entry => entry.Plugin)])
        {
            LogsErrors = names.Contains("errors"),
            Metrics = names.Contains("prometheus") ? new BlockMetrics(_parts.Metrics, server, context.ZoneText, names) : null,
        };
    }

    // Null = nothing that answers.
    private IEnumerable<Plugin>? Make(CorefileDirective directive, BlockContext context)
    {
        switch (directive.Name)
        {
            case "cancel": NoMoreThan(directive, 1); return null;
            case "debug" or "errors": return null;
            case "reload": NoMoreThan(directive, 2); _reloads = true; return null;
            case "ready": _ready = Address(directive, 8181); return null;
            case "health": SetHealth(directive); return null;
            case "prometheus": _prometheus = Address(directive, 9153); return null;
            case "nsid": return [new NsidPlugin(System.Text.Encoding.UTF8.GetBytes(directive.Arguments.Length > 0 ? string.Join(' ', directive.Arguments) : _parts.Options.NodeName))];
            case "bufsize": return [new BufferSizePlugin(BufferSize(directive))];
            case "local": return [new LocalPlugin(HasPrefix(directive), _parts.Metrics.LocalhostRequests)];
            case "dns64": return [ParseDns64(directive)];
            case "any": NoMoreThan(directive, 0); return [new AnyPlugin()];
            case "chaos": return [new ChaosPlugin(directive.Arguments.ElementAtOrDefault(0) ?? "K3sFast", directive.Arguments.Length > 1 ? directive.Arguments[1..] : ["The K3sFast authors"], _parts.Options.NodeName)];
            case "loadbalance": return [ParseLoadBalance(directive)];
            case "autopath": return [ParseAutoPath(directive, context)];
            case "acl": return [ParseAcl(directive, context)];
            case "header": return [ParseHeader(directive)];
            case "minimal": NoMoreThan(directive, 0); return [new MinimalPlugin()];
            case "template": return [TemplateSetup.Parse(directive, context, _parts)];
            case "hosts": return [ParseHosts(directive, context)];
            case "kubernetes": return [ParseKubernetes(directive, context)];
            case "file": return ParseFile(directive, context);
            case "cache": return [CacheSetup.Parse(directive, context, _parts)];
            case "loop": NoMoreThan(directive, 0); return [new LoopPlugin(_parts.Engine, context.Zone, _parts.Metrics, _parts.Logger) { Port = context.Port }];
            case "forward": return [ForwardSetup.Parse(directive, _parts, _files)];
            default: NoMoreThan(directive, 0); return [new WhoamiPlugin()];
        }
    }

    internal static void NoMoreThan(CorefileDirective directive, int count)
    {
        if (directive.Arguments.Length > count) throw directive.ArgumentError();
        if (directive.Lines.Count > 0) throw UnknownProperty(directive.Lines[0]);
    }

    internal static CorefileException UnknownProperty(CorefileLine line) => line.Error($"unknown property '{line.Words[0]}'");

    // [HOST]:PORT
    private static StatusAddress Address(CorefileDirective directive, int defaultPort)
    {
        if (directive.Arguments.Length > 1) throw directive.ArgumentError();
        if (directive.Arguments.Length == 0) return new StatusAddress("", defaultPort);
        var text = directive.Arguments[0];
        var colon = text.LastIndexOf(':');
        if (colon < 0 || !int.TryParse(text[(colon + 1)..], out var port) || port is < 1 or > 65535) throw directive.Error($"address {text}: missing port in address");
        var host = text[..colon].Trim('[', ']');
        if (host.Length > 0 && !IPAddress.TryParse(host, out _)) throw directive.Error($"\"{host}\" is no address");
        return new StatusAddress(host, port);
    }

    private void SetHealth(CorefileDirective directive)
    {
        _health = Address(directive, 8080);
        foreach (var line in directive.Lines)
        {
            if (line.Words is not ["lameduck", var duration]) throw UnknownProperty(line);
            _lameDuck = CorefileDuration.Parse(duration);
        }
    }

    /// <summary>The block that a plugin is built for.</summary>
    internal sealed record BlockContext(int Port, byte[] Zone, string Server, string ZoneText)
    {
        /// <summary>Zones that a directive names; the block's where it names none.</summary>
        internal ZoneSet Zones(IEnumerable<string> names)
        {
            var zones = names.SelectMany(ZoneSet.Parse).ToList();
            return new ZoneSet(zones.Count == 0 ? [Zone] : zones);
        }
    }
}
