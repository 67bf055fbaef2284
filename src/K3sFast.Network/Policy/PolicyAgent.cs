using System.Net;
using System.Threading.Channels;
using k8s.Models;
using K3sFast.Client;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Proxy;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Policy;

/// <summary>
/// Keeps NetworkPolicies for the pods of this node. Nothing of it costs anything before there is a policy: only then are pods and namespaces followed, and
/// only then is there a table.
/// </summary>
internal sealed class PolicyAgent : IDisposable
{
    private static readonly TimeSpan s_verifyInterval = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_retryDelay = TimeSpan.FromSeconds(1);

    private const string ProbeTable = "k3sfast-probe";

    private readonly string _nodeName;
    private readonly NetworkNamespace? _hostNamespace;
    private readonly InformerFactory _informers;
    private readonly Informer<V1NetworkPolicy> _policies;
    private readonly Informer<V1EndpointSlice> _slices;
    private readonly ILogger _logger;
    private readonly List<(PacketSteps Steps, NftTable Table)> _tables = [];
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    private readonly TaskCompletionSource _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly PolicyState _state;
    private readonly Dictionary<string, IReadOnlyList<IPAddress>> _attached = [];
    private Informer<V1Pod>? _pods;
    private Informer<V1Namespace>? _namespaces;
    private bool _isTableWritten;

    // Guarded by _dirtyGate, which is taken last
    private readonly Lock _dirtyGate = new();
    private readonly HashSet<(char Kind, string Key)> _dirty = [];

    internal PolicyAgent(NetworkOptions options, InformerFactory informers, InformerFactory proxyInformers, ILogger logger)
    {
        (_nodeName, _hostNamespace, _informers, _logger, _state) = (options.NodeName, options.HostNamespace, informers, logger, new PolicyState(options.HasPodNetwork));
        foreach (var family in ServiceBackend.FamiliesOf(options)) _tables.Add((new PacketSteps(family), new NftTable(family, PolicyRules.TableName, options.HostNamespace)));
        _policies = informers.Get(Resources.NetworkPolicies);
        _policies.AddHandler(policy => Touch('n', KeyOf(policy.Metadata)));
        _slices = proxyInformers.Get(Resources.EndpointSlices);
        _slices.AddHandler(slice =>
        {
            if (IsBuiltInDns(slice)) Touch('d', slice.Metadata.Name);
        });
    }

    /// <summary>Completes when the policies that there are have been written: before that no pod may begin.</summary>
    internal Task WaitReadyAsync(CancellationToken cancellationToken) => _ready.Task.WaitAsync(cancellationToken);

    /// <summary>
    /// A pod is about to have a network: returns when its policies are in the kernel. One that the API has not told us of yet gets nothing through until it
    /// has, where its namespace has policies.
    /// </summary>
    /// <exception cref="KernelException">Refused: the pod must not begin.</exception>
    internal void Attach(string namespaceName, string name, IReadOnlyList<IPAddress> addresses)
    {
        var key = $"{namespaceName}/{name}";
        lock (_gate)
        {
            _attached[key] = addresses;
            if (!_state.HasPolicies) return;
            _state.SetPod(key, _pods?.Get(namespaceName, name) is { } pod
                ? PolicyPod.Of(pod, _nodeName, addresses)
                : new PolicyPod(namespaceName, name, new Dictionary<string, string>(), addresses, IsLocal: true, []) { IsUnknown = true });
            ApplyLocked();
        }
    }

    /// <summary>A pod's network is gone.</summary>
    internal void Detach(string namespaceName, string name)
    {
        lock (_gate) _attached.Remove($"{namespaceName}/{name}");
        Touch('p', $"{namespaceName}/{name}");
    }

    /// <summary>Runs until cancelled. The rules stay.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        await Task.Yield();
        try
        {
            await _policies.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
            if (_policies.List().Count == 0)
            {
                RemoveTables(_tables);
                _ready.TrySetResult();
            }
            while (true)
            {
                try
                {
                    await RoundAsync(cancellationToken).ConfigureAwait(false);
                    _ready.TrySetResult();
                }
                catch (KernelException refused)
                {
                    Log.RulesRefused(_logger, refused);
                    await Task.Delay(s_retryDelay, cancellationToken).ConfigureAwait(false);
                    _wake.Writer.TryWrite(true);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (_, table) in _tables) table.Dispose();
    }

    /// <summary>Takes the rules of an earlier run out: policies are switched off, or there are none.</summary>
    internal static void RemoveTables(NetworkOptions options)
    {
        foreach (var family in ServiceBackend.FamiliesOf(options))
        {
            using var table = new NftTable(family, PolicyRules.TableName, options.HostNamespace);
            if (table.Exists()) table.Remove();
        }
    }

    private static void RemoveTables(IEnumerable<(PacketSteps Steps, NftTable Table)> tables)
    {
        foreach (var (_, table) in tables)
        {
            if (table.Exists()) table.Remove();
        }
    }

    private async Task RoundAsync(CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(s_verifyInterval);
        try
        {
            await _wake.Reader.ReadAsync(deadline.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            Verify();
            return;
        }
        await FollowPodsAsync(cancellationToken).ConfigureAwait(false);
        HashSet<(char Kind, string Key)> dirty;
        lock (_dirtyGate)
        {
            dirty = [.. _dirty];
            _dirty.Clear();
        }
        lock (_gate)
        {
            // Namespaces and pods before policies: a policy is never kept with half of its peers.
            foreach (var (kind, key) in dirty.OrderBy(static change => "spdn".IndexOf(change.Kind, StringComparison.Ordinal))) Take(kind, key);
            ApplyLocked();
        }
    }

    private void Take(char kind, string key)
    {
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        switch (kind)
        {
            case 's':
                _state.SetNamespace(key, _namespaces?.Get(null, key) is { } found ? found.Metadata.Labels ?? new Dictionary<string, string>() : null);
                break;
            case 'p':
                var attached = _attached.GetValueOrDefault(key);
                // One that has begun here before the API told us of it stays as it is.
                if (_pods?.Get(key[..slash], key[(slash + 1)..]) is { } pod) _state.SetPod(key, PolicyPod.Of(pod, _nodeName, attached));
                else if (attached is null) _state.SetPod(key, null);
                break;
            case 'd':
                _state.SetPod("kube-system//dns/" + key, _slices.Get("kube-system", key) is { } slice ? DnsOf(slice) : null);
                break;
            default:
                _state.SetPolicy(key, _policies.Get(key[..slash], key[(slash + 1)..]) is { } policy ? PolicySpec.Of(policy) : null);
                break;
        }
    }

    // The built-in DNS is no pod, and policies that let pods of kube-system with CoreDNS's label be asked mean it.
    private static PolicyPod DnsOf(V1EndpointSlice slice) => new(
        "kube-system", "/dns/" + slice.Metadata.Name, new Dictionary<string, string> { ["k8s-app"] = "kube-dns" },
        [.. (slice.Endpoints ?? []).SelectMany(static endpoint => endpoint.Addresses).Select(IPAddress.Parse)], IsLocal: false,
        [.. (slice.Ports ?? []).Select(static port => new NamedPort(port.Name ?? "", PolicyPort.ProtocolOf(port.Protocol), (ushort)(port.Port ?? 0)))]);

    private static bool IsBuiltInDns(V1EndpointSlice slice) => slice.Metadata.NamespaceProperty == "kube-system"
        && slice.Metadata.Labels is { } labels && labels.TryGetValue("endpointslice.kubernetes.io/managed-by", out var manager) && manager == "k3sfast-dns";

    private async Task FollowPodsAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            if (_pods is not null || _policies.List().Count == 0) return;
            _state.IsLogged = HasNetfilterLog();
            _namespaces = _informers.Get(Resources.Namespaces);
            _namespaces.AddHandler(value => Touch('s', value.Metadata.Name));
            _pods = _informers.Get(Resources.Pods);
            _pods.AddHandler(new InformerHandler<V1Pod>(pod => Touch('p', KeyOf(pod.Metadata)), (_, pod) => Touch('p', KeyOf(pod.Metadata)), pod => Touch('p', KeyOf(pod.Metadata))));
        }
        await _namespaces.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
        await _pods.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
    }

    // A kernel without nfnetlink_log takes no rule that speaks of it, and a refused rule would take the others with it.
    private bool HasNetfilterLog()
    {
        using var table = new NftTable(NftFamily.IPv4, ProbeTable, _hostNamespace);
        try
        {
            table.Apply([new("", PolicyRules.LogProbe())]);
            table.Remove();
            return true;
        }
        catch (KernelException refused)
        {
            Log.DropsNotLogged(_logger, refused.Message);
            return false;
        }
    }

    private void ApplyLocked()
    {
        if (!_state.HasPolicies && !_isTableWritten) return;
        var owners = _state.TakeDirty();
        if (owners.Count == 0) return;
        try
        {
            foreach (var (steps, table) in _tables) table.Apply([.. owners.Select(owner => KeyValuePair.Create(owner, _state.Build(owner, steps)))]);
            _isTableWritten = true;
        }
        catch (KernelException)
        {
            // One family may have them and the other not; sending them again costs nothing where they are.
            _state.PutBack(owners);
            throw;
        }
    }

    private void Verify()
    {
        lock (_gate)
        {
            if (!_isTableWritten) return;
            var isRepaired = false;
            foreach (var (_, table) in _tables) isRepaired |= table.Verify();
            if (isRepaired) Log.RulesRestored(_logger);
        }
    }

    private void Touch(char kind, string key)
    {
        lock (_dirtyGate) _dirty.Add((kind, key));
        _wake.Writer.TryWrite(true);
    }

    private static string KeyOf(V1ObjectMeta metadata) => $"{metadata.NamespaceProperty}/{metadata.Name}";
}
