using k8s.Models;

namespace K3sFast.Kubelet.Containers;

/// <summary>Environment variables that name the services of a namespace: <c>WEB_SERVICE_HOST</c> and its siblings.</summary>
internal static class ServiceEnvironment
{
    /// <summary>
    /// Variables of the services that a pod in <paramref name="namespaceName"/> sees: all of its namespace when <paramref name="withLinks"/>, and
    /// always the API server's (<c>kubernetes</c> in <c>default</c>), which a service of the same name in the pod's namespace overrides.
    /// </summary>
    public static Dictionary<string, string> Build(IEnumerable<V1Service> services, string namespaceName, bool withLinks)
    {
        var visible = new SortedDictionary<string, V1Service>(StringComparer.Ordinal);
        foreach (var service in services)
        {
            if (service.Spec?.ClusterIP is not { Length: > 0 } address || address == "None") continue;
            var name = service.Metadata.Name;
            var isOwn = service.Metadata.NamespaceProperty == namespaceName;
            if (service.Metadata.NamespaceProperty == "default" && name == "kubernetes" && !visible.ContainsKey(name)) visible[name] = service;
            else if (isOwn && withLinks) visible[name] = service;
        }
        var variables = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var service in visible.Values) Add(variables, service);
        return variables;
    }

    private static void Add(Dictionary<string, string> variables, V1Service service)
    {
        if (service.Spec.Ports is not { Count: > 0 } ports) return;
        var prefix = VariableName(service.Metadata.Name);
        var address = service.Spec.ClusterIP;
        var host = address.Contains(':') ? $"[{address}]" : address;
        variables[prefix + "_SERVICE_HOST"] = address;
        variables[prefix + "_SERVICE_PORT"] = $"{ports[0].Port}";
        for (var i = 0; i < ports.Count; i++)
        {
            var port = ports[i];
            if (!string.IsNullOrEmpty(port.Name)) variables[$"{prefix}_SERVICE_PORT_{VariableName(port.Name)}"] = $"{port.Port}";
            var protocol = string.IsNullOrEmpty(port.Protocol) ? "TCP" : port.Protocol;
            var url = $"{protocol.ToLowerInvariant()}://{host}:{port.Port}";
            if (i == 0) variables[prefix + "_PORT"] = url;
            var portPrefix = $"{prefix}_PORT_{port.Port}_{protocol}";
            variables[portPrefix] = url;
            variables[portPrefix + "_PROTO"] = protocol.ToLowerInvariant();
            variables[portPrefix + "_PORT"] = $"{port.Port}";
            variables[portPrefix + "_ADDR"] = address;
        }
    }

    private static string VariableName(string name) => name.Replace('-', '_').ToUpperInvariant();
}
