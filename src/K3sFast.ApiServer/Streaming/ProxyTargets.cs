using System.Globalization;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Where a proxy request goes.</summary>
internal readonly record struct ProxyTarget(string Scheme, KubeletAddress Address);

/// <summary>Names of proxy requests (<c>name</c>, <c>name:port</c>, <c>scheme:name:port</c>) to addresses.</summary>
internal sealed class ProxyTargets(ResourceCatalog catalog, KubeletConnector kubelets)
{
    internal ProxyTarget Resolve(ApiCall call, string resource)
    {
        string ns = call.Info.NamespaceText, text = call.Info.NameText;
        var parts = text.Split(':');
        var (scheme, name, port) = parts switch
        {
            [var only] => ("", only, ""),
            [var first, var second] => ("", first, second),
            ["http" or "https" or "", var second, var third] => (parts[0], second, third),
            _ => throw ApiStatus.BadRequest($"invalid {resource} request {GoText.Quote(text)}").ToException(),
        };
        return resource switch
        {
            "nodes" => Node(name),
            "pods" => Pod(ns, scheme, name, port),
            _ => Service(ns, scheme, name, port),
        };
    }

    private ProxyTarget Node(string name) => new("https", kubelets.Find(name));

    private ProxyTarget Pod(string ns, string scheme, string name, string port)
    {
        var pods = catalog.Storage("", "pods");
        using var stored = pods.Get(ns, name) ?? throw ApiStatus.NotFound("", "pods", name).ToException();
        using var pod = pods.Decode(stored);
        var ip = pod.Root["status"u8]["podIP"u8].AsString();
        if (ip.Length == 0)
            throw ApiStatus.BadRequest("address not allowed").ToException();
        if (port.Length == 0)
        {
            foreach (var container in pod.Root["spec"u8]["containers"u8].Elements)
            {
                if (container["ports"u8].Count == 0)
                    continue;
                port = container["ports"u8][0]["containerPort"u8].AsString();
                break;
            }
        }
        return new ProxyTarget(scheme.Length == 0 ? "http" : scheme, new KubeletAddress(name, ip, ParsePort(port, scheme)));
    }

    private ProxyTarget Service(string ns, string scheme, string name, string port)
    {
        var services = catalog.Storage("", "services");
        using var stored = services.Get(ns, name) ?? throw ApiStatus.NotFound("", "services", name).ToException();
        using var service = services.Decode(stored);
        string? portName = null;
        foreach (var candidate in service.Root["spec"u8]["ports"u8].Elements)
        {
            if (port.Length > 0 && candidate["name"u8].AsString() != port && candidate["port"u8].AsString() != port)
                continue;
            portName = candidate["name"u8].AsString();
            break;
        }
        if (portName is null)
            throw ApiStatus.ServiceUnavailable($"no service port {GoText.Quote(port)} found for service {GoText.Quote(name)}").ToException();
        var ready = new List<KubeletAddress>();
        var slices = catalog.Storage("discovery.k8s.io", "endpointslices");
        foreach (var candidate in slices.All(ns))
        {
            using var slice = slices.Decode(candidate);
            if (slice.Root["metadata"u8]["labels"u8]["kubernetes.io/service-name"u8].AsString() == name)
                Collect(slice.Root, name, portName, ready);
        }
        if (ready.Count == 0)
            throw ApiStatus.ServiceUnavailable($"no endpoints available for service {GoText.Quote(name)}").ToException();
        return new ProxyTarget(scheme.Length == 0 ? "http" : scheme, ready[Random.Shared.Next(ready.Count)]);
    }

    private static void Collect(ApiNode slice, string service, string portName, List<KubeletAddress> ready)
    {
        foreach (var port in slice["ports"u8].Elements)
        {
            if (port["name"u8].AsString() != portName || !port["port"u8].TryGetInt64(out var number))
                continue;
            foreach (var endpoint in slice["endpoints"u8].Elements)
            {
                if (!endpoint["conditions"u8]["ready"u8].AsBool(fallback: true))
                    continue;
                foreach (var address in endpoint["addresses"u8].Elements)
                    ready.Add(new KubeletAddress(service, address.AsString(), (int)number));
            }
        }
    }

    private static int ParsePort(string port, string scheme)
    {
        if (port.Length == 0)
            return scheme == "https" ? 443 : 80;
        return int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number is > 0 and < 65536
            ? number
            : throw ApiStatus.BadRequest($"invalid port {GoText.Quote(port)}").ToException();
    }
}
