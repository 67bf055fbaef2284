using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using K3sFast.Client;
using K3sFast.Client.Testing;
using k8s;
using k8s.Models;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Controllers.Tests;

/// <summary>All controllers over an API in memory, and a kubelet that makes every pod ready at once unless told otherwise.</summary>
internal sealed class TestCluster : IAsyncDisposable
{
    private static readonly Dictionary<string, (string Plural, string Kind, bool IsNamespaced)[]> s_groups = new()
    {
        ["/api/v1"] =
        [
            ("namespaces", "Namespace", false), ("nodes", "Node", false), ("pods", "Pod", true), ("services", "Service", true), ("endpoints", "Endpoints", true),
            ("configmaps", "ConfigMap", true), ("serviceaccounts", "ServiceAccount", true), ("replicationcontrollers", "ReplicationController", true),
            ("persistentvolumeclaims", "PersistentVolumeClaim", true),
        ],
        ["/apis/apps/v1"] =
        [
            ("deployments", "Deployment", true), ("replicasets", "ReplicaSet", true), ("statefulsets", "StatefulSet", true),
            ("daemonsets", "DaemonSet", true), ("controllerrevisions", "ControllerRevision", true),
        ],
        ["/apis/batch/v1"] = [("jobs", "Job", true), ("cronjobs", "CronJob", true)],
        ["/apis/discovery.k8s.io/v1"] = [("endpointslices", "EndpointSlice", true)],
    };

    // Longer than any wait: a wait that fails says for what.
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromMinutes(5));
    private readonly List<Task> _running = [];
    private readonly ControllerManager _manager;

    /// <summary>A cluster, not started; of the machine's time and with the usual options unless told otherwise.</summary>
    internal TestCluster(TimeProvider? time = null, Func<ControllerManagerOptions, ControllerManagerOptions>? change = null)
    {
        Api.Intercept = Intercept;
        var options = new ControllerManagerOptions { ClusterCidr = "10.42.0.0/16", ServiceCidr = "10.43.0.0/16", RootCaPem = "pem" };
        _manager = new ControllerManager(change?.Invoke(options) ?? options, _ => Api.Client, NullLoggerFactory.Instance, time);
    }

    internal InMemoryApi Api { get; } = new();

    internal ApiClient Client => Api.Client;

    internal CancellationToken Stop => _stop.Token;

    /// <summary>Pods for which the kubelet does what it does; others stay as they are.</summary>
    internal Func<V1Pod, bool> Runs { get; set; } = static _ => true;

    /// <summary>What a pod's phase becomes.</summary>
    internal Func<V1Pod, string> Phase { get; set; } = static _ => "Running";

    internal TestCluster Start()
    {
        _running.Add(_manager.RunAsync(Stop));
        _running.Add(KubeletAsync());
        return this;
    }

    internal async Task<T> CreateAsync<T>(Resource<T> resource, T value) where T : class, IKubernetesObject<V1ObjectMeta> =>
        await Client.CreateAsync(resource, value, Stop);

    internal async Task<T?> FindAsync<T>(Resource<T> resource, string name) where T : class, IKubernetesObject<V1ObjectMeta> =>
        await Client.FindAsync(resource, resource.IsNamespaced ? "default" : null, name, Stop);

    internal async Task<IReadOnlyList<T>> ListAsync<T>(Resource<T> resource) where T : class, IKubernetesObject<V1ObjectMeta> =>
        (await Client.ListAsync(resource, null, default, Stop)).Items;

    internal async Task PatchAsync<T>(Resource<T> resource, string name, string json, string? subresource = null) where T : class, IKubernetesObject<V1ObjectMeta> =>
        await Client.PatchAsync(resource, resource.IsNamespaced ? "default" : null, name, PatchBody.Merge(Encoding.UTF8.GetBytes(json)), Stop, subresource);

    /// <summary>Waits until the condition holds, or fails with <paramref name="what"/> and all that the API holds by then.</summary>
    internal async Task UntilAsync(Func<Task<bool>> condition, string what)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        while (!await condition())
        {
            if (deadline.IsCancellationRequested) Assert.Fail($"never: {what}\n{Api.Describe()}");
            await Task.Delay(10, Stop);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_running);
        _stop.Dispose();
    }

    internal static V1PodTemplateSpec Template(string app, string image = "image:1") => new()
    {
        Metadata = new V1ObjectMeta { Labels = new Dictionary<string, string> { ["app"] = app } },
        Spec = new V1PodSpec { Containers = [new V1Container { Name = "c", Image = image }], RestartPolicy = "Always" },
    };

    internal static V1LabelSelector Selector(string app) => new() { MatchLabels = new Dictionary<string, string> { ["app"] = app } };

    internal static V1ObjectMeta Meta(string name) => new() { Name = name, NamespaceProperty = "default" };

    private async Task KubeletAsync()
    {
        var pods = new Informer<V1Pod>(Client, Resources.Pods, null, default, NullLogger.Instance);
        using var queue = new WorkQueue<ObjectKey>();
        pods.AddHandler(pod => queue.Add(ObjectKey.Of(pod)));
        var reconciler = new Reconciler<ObjectKey>("kubelet", queue, async (key, stop) =>
        {
            if (pods.Get(key) is not { Metadata.DeletionTimestamp: null } pod || pod.Status?.Phase is not (null or "Pending") || !Runs(pod)) return;
            var phase = Phase(pod);
            var ready = phase == "Running" ? "True" : "False";
            var since = DateTime.UtcNow.AddSeconds(-1).ToString("yyyy-MM-ddTHH:mm:ssZ");
            var ip = $"10.42.0.{Random.Shared.Next(2, 250)}";
            var json = $$$"""{"status":{"phase":"{{{phase}}}","podIP":"{{{ip}}}","podIPs":[{"ip":"{{{ip}}}"}],"conditions":[{"type":"Ready","status":"{{{ready}}}","lastTransitionTime":"{{{since}}}"}]}}""";
            await Client.PatchAsync(Resources.Pods, key.Namespace, key.Name, PatchBody.Merge(Encoding.UTF8.GetBytes(json)), stop, "status");
        }, NullLogger.Instance);
        await Task.WhenAll(pods.RunAsync(Stop), reconciler.RunAsync(2, Stop));
    }

    // Discovery, and the one thing of status updates that the plain API in memory does not do: keep the annotations that come with them.
    private ApiResponse? Intercept(ApiRequest request)
    {
        if (request.Method == "GET" && s_groups.TryGetValue(request.PathAndQuery, out var resources)) return Json(ResourceList(request.PathAndQuery, resources));
        if (request is { Method: "GET", PathAndQuery: "/apis" }) return Json(GroupList());
        if (request.Method != "PUT" || !request.PathAndQuery.Contains("/deployments/") || !request.PathAndQuery.EndsWith("/status", StringComparison.Ordinal)) return null;
        var body = JsonNode.Parse(request.Body.Span)!;
        var path = request.PathAndQuery[..^"/status".Length];
        var current = JsonNode.Parse(Send(new ApiRequest("GET", path)).Body.Span)!;
        if (current["metadata"]!["resourceVersion"]!.GetValue<string>() != body["metadata"]!["resourceVersion"]!.GetValue<string>())
        {
            return new ApiResponse(409, """{"kind":"Status","code":409,"reason":"Conflict","message":"modified"}"""u8.ToArray());
        }
        var status = body["status"]!.DeepClone();
        foreach (var (name, _) in (JsonObject)(current["status"] ?? new JsonObject())) ((JsonObject)status).TryAdd(name, null);
        var patch = new JsonObject
        {
            ["metadata"] = new JsonObject { ["annotations"] = body["metadata"]!["annotations"]?.DeepClone() ?? new JsonObject() },
            ["status"] = status,
        };
        return Send(new ApiRequest("PATCH", path, Encoding.UTF8.GetBytes(patch.ToJsonString()), "application/merge-patch+json"));
    }

    private ApiResponse Send(ApiRequest request) => Api.SendAsync(request, default).AsTask().GetAwaiter().GetResult();

    private static string ResourceList(string path, (string Plural, string Kind, bool IsNamespaced)[] resources) => JsonSerializer.Serialize(new
    {
        kind = "APIResourceList",
        groupVersion = path[(path.IndexOf('/', 1) + 1)..],
        resources = resources.Select(static resource => new
        {
            name = resource.Plural, kind = resource.Kind, namespaced = resource.IsNamespaced, singularName = "",
            verbs = new[] { "create", "delete", "get", "list", "patch", "update", "watch" },
        }),
    });

    private static string GroupList() => JsonSerializer.Serialize(new
    {
        kind = "APIGroupList",
        groups = s_groups.Keys.Where(static path => path.StartsWith("/apis/", StringComparison.Ordinal)).Select(static path => path.Split('/')).Select(static parts => new
        {
            name = parts[2],
            versions = new[] { new { groupVersion = $"{parts[2]}/{parts[3]}", version = parts[3] } },
            preferredVersion = new { groupVersion = $"{parts[2]}/{parts[3]}", version = parts[3] },
        }),
    });

    private static ApiResponse Json(string text) => new(200, Encoding.UTF8.GetBytes(text));
}
