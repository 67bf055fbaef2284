using System.Text;
using System.Text.Json;
using K3sFast.Client;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// The ConfigMaps that configure the DNS, as in k3s: <c>coredns</c> with Corefile and NodeHosts, <c>coredns-custom</c> with what users add. The
/// first is made where it is missing and never overwritten; of an existing one only NodeHosts is kept.
/// </summary>
internal sealed class DnsConfigMaps
{
    internal const string Namespace = "kube-system";
    internal const string MainName = "coredns";
    internal const string CustomName = "coredns-custom";

    private const string CorefileKey = "Corefile";
    private const string NodeHostsKey = "NodeHosts";

    private readonly ApiClient _client;
    private readonly string _domain;
    private readonly Informer<V1ConfigMap> _main;
    private readonly Informer<V1ConfigMap> _custom;
    private readonly Informer<V1Node> _nodes;
    private readonly ILogger _logger;

    internal DnsConfigMaps(ApiClient client, InformerFactory informers, Informer<V1Node> nodes, string domain, ILogger logger)
    {
        (_client, _nodes, _domain, _logger) = (client, nodes, domain, logger);
        _main = informers.Get(Resources.ConfigMaps, Namespace, new ListOptions(FieldSelector: "metadata.name=" + MainName));
        _custom = informers.Get(Resources.ConfigMaps, Namespace, new ListOptions(FieldSelector: "metadata.name=" + CustomName));
    }

    /// <summary>The Corefile in force; k3s' own while the ConfigMap is not there.</summary>
    internal string Corefile => _main.Get(Namespace, MainName)?.Data is { } data && data.TryGetValue(CorefileKey, out var text) ? text : DefaultCorefile.For(_domain);

    /// <summary>The files beside it. NodeHosts is as the nodes are now, even before it is written.</summary>
    internal CorefileFiles Files
    {
        get
        {
            var main = new Dictionary<string, string>(_main.Get(Namespace, MainName)?.Data ?? new Dictionary<string, string>());
            main.TryAdd(NodeHostsKey, NodeHosts());
            return new CorefileFiles(main, _custom.Get(Namespace, CustomName)?.Data);
        }
    }

    /// <summary>The ConfigMap, for events about it.</summary>
    internal V1ObjectReference Reference => new()
    {
        ApiVersion = "v1", Kind = "ConfigMap", Name = MainName, NamespaceProperty = Namespace, Uid = _main.Get(Namespace, MainName)?.Metadata.Uid,
    };

    /// <summary><paramref name="changed"/> hears of every change of either.</summary>
    internal void AddHandler(Action changed)
    {
        _main.AddHandler(_ => changed());
        _custom.AddHandler(_ => changed());
    }

    /// <summary>Makes the ConfigMap where it is missing, and brings NodeHosts up to date. Again whenever nodes or the ConfigMap change.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        using var queue = new WorkQueue<string>(baseDelay: TimeSpan.FromMilliseconds(50), maxDelay: TimeSpan.FromSeconds(30));
        _main.AddHandler(_ => queue.Add(MainName));
        _nodes.AddHandler(_ => queue.Add(MainName));
        queue.Add(MainName);
        await new Reconciler<string>("dns-config-map", queue, (_, stop) => PublishAsync(stop), _logger).RunAsync(1, cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask PublishAsync(CancellationToken cancellationToken)
    {
        var hosts = NodeHosts();
        try
        {
            if (_main.Get(Namespace, MainName) is not { } current) await CreateAsync(hosts, cancellationToken).ConfigureAwait(false);
            else if (current.Data is null || !current.Data.TryGetValue(NodeHostsKey, out var known) || known != hosts)
            {
                await _client.PatchAsync(Resources.ConfigMaps, Namespace, MainName, PatchBody.Merge(HostsPatch(hosts)), cancellationToken).ConfigureAwait(false);
            }
        }
        catch (ApiException refused)
        {
            Log.ConfigMapFailed(_logger, refused.Message);
            throw;
        }
    }

    private async Task CreateAsync(string hosts, CancellationToken cancellationToken)
    {
        var wanted = new V1ConfigMap
        {
            Metadata = new V1ObjectMeta { Name = MainName, NamespaceProperty = Namespace },
            Data = new Dictionary<string, string> { [CorefileKey] = DefaultCorefile.For(_domain), [NodeHostsKey] = hosts },
        };
        try
        {
            await _client.CreateAsync(Resources.ConfigMaps, wanted, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException exists) when (exists.IsAlreadyExists)
        {
            // Another server was first, or the informer has not heard of ours yet; it will, and this is looked at again.
        }
    }

    private static byte[] HostsPatch(string hosts)
    {
        using var body = new MemoryStream();
        using (var json = new Utf8JsonWriter(body))
        {
            json.WriteStartObject();
            json.WriteStartObject("data");
            json.WriteString(NodeHostsKey, hosts);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return body.ToArray();
    }

    // "address name" for each node, in order, so that every server writes the same.
    private string NodeHosts()
    {
        var text = new StringBuilder();
        foreach (var node in _nodes.List().OrderBy(static node => node.Metadata.Name, StringComparer.Ordinal))
        {
            foreach (var address in node.Status?.Addresses ?? [])
            {
                if (address.Type == "InternalIP") text.Append(address.Address).Append(' ').Append(node.Metadata.Name).Append('\n');
            }
        }
        return text.ToString();
    }
}
