using System.Globalization;
using System.Net;
using System.Net.Sockets;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Where a proxy request goes. Only a kubelet is shown our client certificate, and only on its own port.</summary>
internal readonly record struct ProxyTarget(string Scheme, string Host, int Port, bool IsKubelet)
{
    internal bool IsTls => Scheme == "https";

    /// <summary>host:port, without the port that the scheme implies when the request named none.</summary>
    internal string Authority => Port == (IsTls ? 443 : 80) ? Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]" : Host : StreamRouter.HostOf(Host, Port);
}

/// <summary>
/// Names of proxy requests (<c>name</c>, <c>name:port</c>, <c>scheme:name:port</c>) to addresses. Whoever may write a pod's or node's status must not
/// reach our own loopback or link with it, so such addresses are refused.
/// </summary>
internal sealed class ProxyTargets(ResourceCatalog catalog, KubeletConnector kubelets)
{
    internal ValueTask<ProxyTarget> ResolveAsync(ApiCall call, string resource)
    {
        string ns = call.Info.NamespaceText, text = call.Info.NameText;
        var parts = text.Split(':');
        var (scheme, name, port) = parts switch
        {
            [var only] => ("", only, ""),
            [var first, var second] => ("", first, second),
            ["http" or "https" or "", var second, var third] => (parts[0], second, third),
            _ => ("", "", ""),
        };
        if (name.Length == 0)
            throw ApiStatus.BadRequest($"invalid {resource[..^1]} request {GoText.Quote(text)}").ToException();
        scheme = scheme.Length == 0 ? "http" : scheme;
        return resource switch
        {
            "nodes" => NodeAsync(scheme, name, port, call.Aborted),
            "pods" => ValueTask.FromResult(Pod(ns, scheme, name, port)),
            _ => ValueTask.FromResult(Service(ns, scheme, text, name, port)),
        };
    }

    /// <summary>True for an address that a request may be passed on to: not ourselves, not our link, not many at once.</summary>
    internal static bool IsProxyable(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        if (IPAddress.IsLoopback(address) || address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any) || address.Equals(IPAddress.Broadcast))
            return false;
        if (address.AddressFamily == AddressFamily.InterNetworkV6)
            return !address.IsIPv6LinkLocal && !address.IsIPv6Multicast;
        var bytes = address.GetAddressBytes();
        // 169.254.0.0/16 and 224.0.0.0/4.
        return (bytes[0], bytes[1]) != (169, 254) && bytes[0] is < 224 or > 239;
    }

    private async ValueTask<ProxyTarget> NodeAsync(string scheme, string name, string port, CancellationToken cancel)
    {
        var kubelet = kubelets.Find(name);
        foreach (var address in await AddressesAsync(kubelet.Host, cancel).ConfigureAwait(false))
        {
            if (!IsProxyable(address))
                throw ApiStatus.BadRequest("address not allowed").ToException();
        }
        return port.Length == 0 || port == kubelet.Port.ToString(CultureInfo.InvariantCulture)
            ? new ProxyTarget("https", kubelet.Host, kubelet.Port, IsKubelet: true)
            : new ProxyTarget(scheme, kubelet.Host, ParsePort(port, scheme), IsKubelet: false);
    }

    private static async ValueTask<IPAddress[]> AddressesAsync(string host, CancellationToken cancel)
    {
        if (IPAddress.TryParse(host, out var address))
            return [address];
        try
        {
            var found = await Dns.GetHostAddressesAsync(host, cancel).ConfigureAwait(false);
            return found.Length > 0 ? found : throw ApiStatus.BadRequest("no addresses for hostname").ToException();
        }
        catch (SocketException)
        {
            throw ApiStatus.BadRequest($"lookup {host}: no such host").ToException();
        }
    }

    private ProxyTarget Pod(string ns, string scheme, string name, string port)
    {
        var pods = catalog.Storage("", "pods");
        using var stored = pods.Get(ns, name) ?? throw ApiStatus.NotFound("", "pods", name).ToException();
        using var pod = pods.Decode(stored);
        if (port.Length == 0)
        {
            foreach (var container in pod.Root["spec"u8]["containers"u8].Elements)
            {
                if (container["ports"u8].Count == 0)
                    continue;
                port = container["ports"u8][0]["containerPort"u8].AsInt64().ToString(CultureInfo.InvariantCulture);
                break;
            }
        }
        var status = pod.Root["status"u8];
        var ip = status["podIPs"u8].Count > 0 ? status["podIPs"u8][0]["ip"u8].AsString() : status["podIP"u8].AsString();
        if (!IPAddress.TryParse(ip, out var address) || !IsProxyable(address))
            throw ApiStatus.BadRequest("address not allowed").ToException();
        return new ProxyTarget(scheme, ip, ParsePort(port, scheme), IsKubelet: false);
    }

    private ProxyTarget Service(string ns, string scheme, string request, string name, string port)
    {
        // Ports of endpoints are known by their name, so a number is looked up in the Service first.
        if (long.TryParse(port, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number))
            port = NameOfPort(ns, name, number);
        var endpoints = catalog.Storage("", "endpoints");
        using var stored = endpoints.Get(ns, name) ?? throw ApiStatus.NotFound("", "services", name).ToException();
        using var document = endpoints.Decode(stored);
        var subsets = document.Root["subsets"u8];
        if (subsets.Count == 0)
            throw ApiStatus.ServiceUnavailable($"no endpoints available for service {GoText.Quote(name)}").ToException();
        var ready = new List<(string Host, int Port)>();
        foreach (var subset in subsets.Elements)
        {
            foreach (var candidate in subset["ports"u8].Elements)
            {
                if (candidate["name"u8].AsString() == port)
                    Collect(subset["addresses"u8], ns, (int)candidate["port"u8].AsInt64(), ready);
            }
        }
        if (ready.Count == 0)
            throw ApiStatus.ServiceUnavailable($"no endpoints available for service {GoText.Quote(request)}").ToException();
        var (host, target) = ready[Random.Shared.Next(ready.Count)];
        return new ProxyTarget(scheme, host, target, IsKubelet: false);
    }

    private string NameOfPort(string ns, string name, long number)
    {
        var services = catalog.Storage("", "services");
        using var stored = services.Get(ns, name) ?? throw ApiStatus.NotFound("", "services", name).ToException();
        using var service = services.Decode(stored);
        foreach (var candidate in service.Root["spec"u8]["ports"u8].Elements)
        {
            if (candidate["port"u8].AsInt64() == number)
                return candidate["name"u8].AsString();
        }
        throw ApiStatus.ServiceUnavailable($"no service port {number.ToString(CultureInfo.InvariantCulture)} found for service {GoText.Quote(name)}").ToException();
    }

    // Endpoints can be written by hand: only addresses that their pod really has are gone to.
    private void Collect(ApiNode addresses, string ns, int port, List<(string Host, int Port)> ready)
    {
        var pods = catalog.Storage("", "pods");
        foreach (var address in addresses.Elements)
        {
            var reference = address["targetRef"u8];
            if (reference["namespace"u8].AsString() != ns || pods.Get(ns, reference["name"u8].AsString()) is not { } stored)
                continue;
            using (stored)
            {
                using var pod = pods.Decode(stored);
                var ip = address["ip"u8].AsString();
                if (Has(pod.Root["status"u8], ip))
                    ready.Add((ip, port));
            }
        }
    }

    private static bool Has(ApiNode status, string ip)
    {
        foreach (var candidate in status["podIPs"u8].Elements)
        {
            if (candidate["ip"u8].AsString() == ip)
                return true;
        }
        return status["podIPs"u8].Count == 0 && status["podIP"u8].AsString() == ip && ip.Length > 0;
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
