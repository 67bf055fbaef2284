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

    // A node name that no node has: the pod is stored and watched, and nobody runs it.
    internal static byte[] Pod(string name)
    {
        var env = string.Join(',', Enumerable.Range(0, 20).Select(i => $$"""{"name":"VARIABLE_{{i}}","value":"value of variable {{i}}"}"""));
        return Encoding.UTF8.GetBytes($$$"""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{name}}}","namespace":"{{{Namespace}}}","labels":{"app":"load","tier":"web"}},
            "spec":{"nodeName":"nowhere","automountServiceAccountToken":false,"containers":[{"name":"web","image":"registry.example/web:1.0","ports":[{"containerPort":8080}],
            "env":[{{{env}}}],"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}},
            "readinessProbe":{"httpGet":{"path":"/ready","port":8080}},"volumeMounts":[{"name":"data","mountPath":"/data"}]}],
            "volumes":[{"name":"data","emptyDir":{}}]}}
            """);
    }

    internal static async Task ResetNamespaceAsync(ApiConnection api)
    {
        var body = Encoding.UTF8.GetBytes($$$"""{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"{{{Namespace}}}"}}""");
        try
        {
            await api.SendAsync(HttpMethod.Post, "/api/v1/namespaces", body);
        }
        catch (HttpRequestException exists) when (exists.Message.Contains("409", StringComparison.Ordinal))
        {
            // Left from an earlier run: emptied below.
        }
        await api.SendAsync(HttpMethod.Delete, ConfigMaps + "?labelSelector=app%3Dload");
        await api.SendAsync(HttpMethod.Delete, Pods + "?gracePeriodSeconds=0");
    }
}
