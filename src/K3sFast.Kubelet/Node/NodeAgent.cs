using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Grpc.Core;
using K3sFast.Client;
using K3sFast.Kubelet.Cri;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Node;

/// <summary>
/// The node in the API: registered once, its status written when it changes and every few minutes anyway, its Lease renewed all the time. Looks
/// often until the node is Ready, so that it is Ready as early as it can be.
/// </summary>
internal sealed class NodeAgent(KubeletOptions options, ApiClient client, CriClient cri, MachineInfo machine, EventRecorder events, TimeProvider time, ILogger logger)
{
    // While the runtime or the network is not there yet it is asked this often.
    private static readonly TimeSpan s_unreadyInterval = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_retry = TimeSpan.FromMilliseconds(500);

    // Lease duration: how long the node counts as alive without renewal. Upstream's 40 s, renewed at a quarter of it.
    internal const int LeaseSeconds = 40;

    private V1NodeStatus? _written;
    private DateTimeOffset _writtenAt;
    private string? _uid;
    private VersionResponse? _runtime;

    /// <summary>Why pods of their own network cannot start; null = they can.</summary>
    public string? NetworkProblem { get; private set; } = "container runtime status is not known yet";

    /// <summary>Why the node is not Ready; null = it is.</summary>
    public string? Problem { get; private set; } = "kubelet is starting";

    /// <summary>Called when the network becomes ready.</summary>
    public event Action? NetworkReady;

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var lease = RenewLeaseAsync(cancellationToken);
        var isRegistered = false;
        while (!cancellationToken.IsCancellationRequested)
        {
            await LookAsync(cancellationToken).ConfigureAwait(false);
            var wait = Problem is null ? options.NodeStatusUpdateInterval : s_unreadyInterval;
            try
            {
                if (_runtime is not null)
                {
                    if (!isRegistered) isRegistered = await RegisterAsync(cancellationToken).ConfigureAwait(false);
                    await WriteStatusAsync(cancellationToken).ConfigureAwait(false);
                }
            }
            catch (ApiException e) when (e.IsNotFound)
            {
                // Somebody deleted the node: it is registered again.
                (isRegistered, _written) = (false, null);
                wait = s_retry;
            }
            catch (Exception e) when (e is ApiException or HttpRequestException or IOException)
            {
                Log.NodeWriteFailed(logger, options.NodeName, "status", e.Message);
                wait = s_retry;
            }
            await Task.Delay(wait, time, cancellationToken).ConfigureAwait(false);
        }
        await lease.ConfigureAwait(false);
    }

    private async Task LookAsync(CancellationToken cancellationToken)
    {
        try
        {
            _runtime ??= await cri.VersionAsync(cancellationToken).ConfigureAwait(false);
            var status = await cri.StatusAsync(cancellationToken).ConfigureAwait(false);
            var wasReady = NetworkProblem is null;
            (Problem, NetworkProblem) = (Describe(status, "RuntimeReady", "container runtime not ready"), Describe(status, "NetworkReady", "container runtime network not ready"));
            Problem ??= NetworkProblem;
            if (!wasReady && NetworkProblem is null) NetworkReady?.Invoke();
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.Cancelled)
        {
            Problem = NetworkProblem = $"container runtime is down: {e.Status.Detail}";
        }
    }

    private static string? Describe(RuntimeStatus status, string type, string what)
    {
        foreach (var condition in status.Conditions)
        {
            if (condition.Type != type) continue;
            return condition.Status ? null : $"{what}: {type}=false reason:{condition.Reason} message:{condition.Message}";
        }
        return $"{what}: the runtime does not report {type}";
    }

    private async Task<bool> RegisterAsync(CancellationToken cancellationToken)
    {
        var node = NodeStatusBuilder.Registration(options);
        // With its status from the first moment: whoever sees the node sees what it has.
        node.Status = await BuildStatusAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            var created = await client.CreateAsync(Resources.Nodes, node, cancellationToken).ConfigureAwait(false);
            _uid = created.Metadata.Uid;
        }
        catch (ApiException e) when (e.IsAlreadyExists)
        {
            var existing = await client.PatchAsync(Resources.Nodes, null, options.NodeName, LabelPatch(node), cancellationToken).ConfigureAwait(false);
            _uid = existing.Metadata.Uid;
            // Times of conditions that did not change go on from before our restart.
            _written = null;
            _previous = existing.Status;
        }
        Log.NodeRegistered(logger, options.NodeName);
        Event("Starting", "Starting kubelet.");
        return true;
    }

    private V1NodeStatus? _previous;

    // The labels that this agent owns; those that others put on the node stay.
    private static PatchBody LabelPatch(V1Node node)
    {
        var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata"u8);
            foreach (var (name, map) in ((string, IDictionary<string, string>)[])[("labels", node.Metadata.Labels), ("annotations", node.Metadata.Annotations)])
            {
                json.WriteStartObject(name);
                foreach (var (key, value) in map) json.WriteString(key, value);
                json.WriteEndObject();
            }
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return PatchBody.Merge(buffer.ToArray());
    }

    private async Task<V1NodeStatus> BuildStatusAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<Image> images = [];
        try
        {
            images = await cri.ListImagesAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException)
        {
            // Reported by the Ready condition already.
        }
        return NodeStatusBuilder.Build(options, machine, _runtime!, images, Problem, _written ?? _previous, time.GetUtcNow().UtcDateTime);
    }

    private async Task WriteStatusAsync(CancellationToken cancellationToken)
    {
        var status = await BuildStatusAsync(cancellationToken).ConfigureAwait(false);
        var isDue = time.GetUtcNow() - _writtenAt >= options.NodeStatusReportInterval;
        if (_written is { } written && !isDue && NodeStatusBuilder.IsSame(written, status)) return;
        var body = PatchBody.StrategicMerge(StatusPatch(status));
        await client.PatchAsync(Resources.Nodes, null, options.NodeName, body, cancellationToken, "status").ConfigureAwait(false);
        var wasReady = IsReady(_written ?? _previous);
        (_written, _writtenAt) = (status, time.GetUtcNow());
        if (IsReady(status) == wasReady) return;
        var word = IsReady(status) ? "NodeReady" : "NodeNotReady";
        Event(word, $"Node {options.NodeName} status is now: {word}");
    }

    // Addresses are merged by type, of which a dual-stack node has the same twice: the list is replaced whole, as upstream's kubelet does.
    internal static byte[] StatusPatch(V1NodeStatus status)
    {
        var patch = JsonNode.Parse(ModelJson.Serialize(new V1Node { Status = status }))!;
        patch["status"]!["addresses"]!.AsArray().Add((JsonNode)new JsonObject { ["$patch"] = "replace" });
        return Encoding.UTF8.GetBytes(patch.ToJsonString());
    }

    private static bool IsReady(V1NodeStatus? status) => status?.Conditions?.Any(condition => condition.Type == "Ready" && condition.Status == "True") ?? false;

    private async Task RenewLeaseAsync(CancellationToken cancellationToken)
    {
        V1Lease? lease = null;
        while (!cancellationToken.IsCancellationRequested)
        {
            var wait = s_retry;
            try
            {
                if (_uid is not null)
                {
                    lease = await RenewOnceAsync(lease, cancellationToken).ConfigureAwait(false);
                    wait = options.LeaseRenewInterval;
                }
            }
            catch (ApiException e) when (e.IsNotFound || e.IsConflict)
            {
                lease = null;
            }
            catch (Exception e) when (e is ApiException or HttpRequestException or IOException)
            {
                Log.NodeWriteFailed(logger, options.NodeName, "lease renewal", e.Message);
            }
            await Task.Delay(wait, time, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<V1Lease> RenewOnceAsync(V1Lease? lease, CancellationToken cancellationToken)
    {
        const string Namespace = "kube-node-lease";
        lease ??= await client.FindAsync(Resources.Leases, Namespace, options.NodeName, cancellationToken).ConfigureAwait(false);
        var now = time.GetUtcNow().UtcDateTime;
        if (lease is null)
        {
            var created = new V1Lease
            {
                Metadata = new V1ObjectMeta
                {
                    Name = options.NodeName,
                    NamespaceProperty = Namespace,
                    OwnerReferences = [new V1OwnerReference { ApiVersion = "v1", Kind = "Node", Name = options.NodeName, Uid = _uid }],
                },
                Spec = new V1LeaseSpec { HolderIdentity = options.NodeName, LeaseDurationSeconds = LeaseSeconds, RenewTime = now },
            };
            return await client.CreateAsync(Resources.Leases, created, cancellationToken).ConfigureAwait(false);
        }
        lease.Spec ??= new V1LeaseSpec();
        (lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime) = (options.NodeName, LeaseSeconds, now);
        return await client.UpdateAsync(Resources.Leases, lease, cancellationToken).ConfigureAwait(false);
    }

    // As upstream, events about the node carry its name as UID: they are found before the object is known.
    private void Event(string reason, string message) =>
        events.Record(new V1ObjectReference { Kind = "Node", Name = options.NodeName, Uid = options.NodeName }, "Normal", reason, message);
}
