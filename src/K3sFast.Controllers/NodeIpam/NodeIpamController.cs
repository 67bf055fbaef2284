using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Gives each node its part of the pod address ranges (spec.podCIDRs), for good: it is freed when the node object is deleted.</summary>
internal sealed class NodeIpamController : Controller
{
    private const string Account = "node-controller";

    // A node without a range cannot run pods: it is tried again until one is freed.
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(30);

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly Informer<V1Node> _nodes;
    private readonly WorkQueue<string> _queue;
    private readonly IReadOnlyList<CidrSet> _sets;

    // Owned by the one worker
    private readonly Dictionary<string, IReadOnlyList<IPNetwork>> _given = [];
    private bool _isLoaded;

    internal NodeIpamController(ControllerContext context) : base("node-ipam-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Account), context.Queue<string>());
        _events = context.Recorder(_client, "cidrAllocator");
        var options = context.Options;
        _sets = [.. Parse(options.ClusterCidr.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)).Select(range => new CidrSet(
            range, Math.Max(range.PrefixLength, range.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6 ? options.NodeCidrMaskSizeV6 : options.NodeCidrMaskSize)))];
        // Service addresses inside the pod range must never be a pod's.
        foreach (var services in Parse(options.ServiceCidr.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)))
        {
            foreach (var set in _sets) set.Take(services);
        }
        _nodes = context.Informers.Get(Resources.Nodes);
        _nodes.AddHandler(new InformerHandler<V1Node>(
            node => _queue.Add(node.Metadata.Name),
            (old, node) =>
            {
                if (old.Metadata.Uid != node.Metadata.Uid || !(node.Spec?.PodCIDRs is { Count: > 0 })) _queue.Add(node.Metadata.Name);
            },
            node => _queue.Add(node.Metadata.Name)));
    }

    // One worker: the sets have one owner.
    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        // What was given out before must be known before anything new is.
        if (!_isLoaded)
        {
            foreach (var known in _nodes.List()) Note(known);
            _isLoaded = true;
        }
        if (_nodes.Get(null, name) is not { } node)
        {
            Free(name);
            return;
        }
        if (Note(node)) return;
        if (!_given.TryGetValue(name, out var parts))
        {
            if (TryTake() is not { } taken)
            {
                _events.Normal(Resources.Nodes, node, "CIDRNotAvailable", $"Node {name} status is now: CIDRNotAvailable");
                _queue.AddAfter(name, s_retry);
                return;
            }
            // Kept until it is written, so that a retry does not take another.
            _given[name] = parts = taken;
        }
        var cidrs = parts.Select(static part => part.ToString()).ToList();
        var patch = new V1Node { Metadata = new V1ObjectMeta { Uid = node.Metadata.Uid }, Spec = new V1NodeSpec { PodCIDR = cidrs[0], PodCIDRs = cidrs } };
        try
        {
            await _client.PatchAsync(Resources.Nodes, null, name, PatchBody.StrategicMerge(ModelJson.Serialize(patch)), cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            Free(name);
        }
    }

    // True when the node has its ranges; they are noted as taken.
    private bool Note(V1Node node)
    {
        IList<string>? cidrs = node.Spec?.PodCIDRs is { Count: > 0 } all ? all : string.IsNullOrEmpty(node.Spec?.PodCIDR) ? null : [node.Spec.PodCIDR];
        if (cidrs is null) return false;
        var parts = Parse(cidrs).ToList();
        foreach (var part in parts)
        {
            foreach (var set in _sets) set.Take(part);
        }
        _given[node.Metadata.Name] = parts;
        return true;
    }

    private List<IPNetwork>? TryTake()
    {
        var taken = new List<IPNetwork>();
        foreach (var set in _sets)
        {
            if (set.Take() is { } part)
            {
                taken.Add(part);
                continue;
            }
            foreach (var other in taken) _sets.First(candidate => candidate.Family == other.BaseAddress.AddressFamily).Free(other);
            return null;
        }
        return taken;
    }

    private void Free(string name)
    {
        if (!_given.Remove(name, out var parts)) return;
        foreach (var part in parts)
        {
            foreach (var set in _sets) set.Free(part);
        }
    }

    private static IEnumerable<IPNetwork> Parse(IEnumerable<string> cidrs)
    {
        foreach (var cidr in cidrs)
        {
            if (IPNetwork.TryParse(cidr, out var network)) yield return network;
        }
    }
}
