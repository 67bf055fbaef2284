using System.Text;

namespace K3sFast.LoadTest;

/// <summary>The objects that are written: the sizes of the peer figures (ConfigMap 0.6 KB, pod 2.5 KB).</summary>
internal static class Objects
{
    internal const string Namespace = "load";

    internal static readonly string ConfigMaps = $"/api/v1/namespaces/{Namespace}/configmaps";
    internal static readonly string Pods = $"/api/v1/namespaces/{Namespace}/pods";

    private static readonly string s_filler = new('x', 450);

    internal static byte[] ConfigMap(string name, string extra = "") => Encoding.UTF8.GetBytes(
        $$$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{{name}}}","namespace":"{{{Namespace}}}","labels":{"app":"load"}},"data":{"filler":"{{{s_filler}}}","extra":"{{{extra}}}"}}""");

    /// <summary>As little as an object can be that carries a mark.</summary>
    internal static byte[] Small(string name, string mark = "") => Encoding.UTF8.GetBytes(
        $$$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{{name}}}","namespace":"{{{Namespace}}}","labels":{"app":"load"}},"data":{"mark":"{{{mark}}}"}}""");

    // On a node that nobody runs: the pod is stored and watched, and that is all. With defaults and the owners of its fields it is stored with
    // 4.9 KB of JSON; with four variables, 3.1 KB.
    internal static byte[] Pod(string name, int variables = 20)
    {
        var env = string.Join(',', Enumerable.Range(0, variables).Select(i => $$"""{"name":"VARIABLE_{{i}}","value":"value of variable {{i}}"}"""));
        return Encoding.UTF8.GetBytes($$$"""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{name}}}","namespace":"{{{Namespace}}}","labels":{"app":"load","tier":"web"}},
            "spec":{"nodeName":"nowhere","automountServiceAccountToken":false,"containers":[{"name":"web","image":"registry.example/web:1.0","ports":[{"containerPort":8080}],
            "env":[{{{env}}}],"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}},
            "readinessProbe":{"httpGet":{"path":"/ready","port":8080}},"volumeMounts":[{"name":"data","mountPath":"/data"}]}],
            "volumes":[{"name":"data","emptyDir":{}}]}}
            """);
    }

    /// <summary>Creates pods, 32 at a time.</summary>
    internal static async Task CreatePodsAsync(ApiConnection api, int count, string prefix = "p", int variables = 20)
    {
        var next = -1;
        await Task.WhenAll(Enumerable.Range(0, 32).Select(async _ =>
        {
            for (var i = Interlocked.Increment(ref next); i < count; i = Interlocked.Increment(ref next))
            {
                await api.SendAsync(HttpMethod.Post, Pods, Pod($"{prefix}-{i}", variables));
            }
        }));
    }

    internal static async Task ResetNamespaceAsync(ApiConnection api)
    {
        await CreateOnceAsync(api, "/api/v1/namespaces", $$$"""{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"{{{Namespace}}}"}}""");
        // Without it the server's controllers take its pods for orphans, and away.
        await CreateOnceAsync(api, "/api/v1/nodes", """{"apiVersion":"v1","kind":"Node","metadata":{"name":"nowhere"}}""");
        await EmptyAsync(api, ConfigMaps, "labelSelector=app%3Dload&");
        await UntilPodsAreTakenAsync(api);
        await EmptyAsync(api, Pods, "gracePeriodSeconds=0&");
    }

    // A new namespace takes pods once a controller has made its default service account; servers that do not ask for one take them at once.
    private static async Task UntilPodsAreTakenAsync(ApiConnection api)
    {
        var waited = System.Diagnostics.Stopwatch.StartNew();
        while (true)
        {
            try
            {
                await CreateOnceAsync(api, Pods, Pod("first"));
                return;
            }
            catch (HttpRequestException early) when (early.Message.Contains("error looking up service account", StringComparison.Ordinal) && waited.Elapsed < TimeSpan.FromMinutes(1))
            {
                await Task.Delay(50);
            }
        }
    }

    // There, perhaps from an earlier run.
    private static Task CreateOnceAsync(ApiConnection api, string path, string body) => CreateOnceAsync(api, path, Encoding.UTF8.GetBytes(body));

    private static async Task CreateOnceAsync(ApiConnection api, string path, byte[] body)
    {
        try
        {
            await api.SendAsync(HttpMethod.Post, path, body);
        }
        catch (HttpRequestException exists) when (exists.Message.Contains("409", StringComparison.Ordinal))
        {
        }
    }

    // Ten thousands of objects take a server that deletes one by one longer than a request may last: it is asked again until nothing is left.
    private static async Task EmptyAsync(ApiConnection api, string path, string selection)
    {
        for (var attempt = 0; attempt < 60; attempt++)
        {
            var left = Encoding.UTF8.GetString(await api.SendAsync(HttpMethod.Get, $"{path}?{selection}limit=1"));
            if (left.Contains("\"items\":[]", StringComparison.Ordinal)) return;
            try
            {
                await api.SendAsync(HttpMethod.Delete, $"{path}?{selection}limit=5000");
            }
            catch (HttpRequestException slow) when (slow.Message.Contains("50", StringComparison.Ordinal))
            {
                // Timed out on the way; what is deleted is deleted.
            }
        }
        throw new InvalidOperationException($"{path} cannot be emptied");
    }
}
