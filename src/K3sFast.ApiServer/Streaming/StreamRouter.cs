using System.Text;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>log, exec, attach, port-forward and proxy: requests that a kubelet, a pod or a service answers.</summary>
internal sealed class StreamRouter(
    KubeletConnector kubelets, PodTargets targets, ProxyTargets proxies, BackendProxy proxy, LogStreamer logs, WriteFlow writes, Authorizer authorizer, ILogger logger)
{
    internal ValueTask RouteAsync(ApiCall call, ResourceEndpoint endpoint, string subresource)
    {
        var isServed = subresource switch
        {
            "log" => call.Method == "GET",
            "proxy" => call.Method is "GET" or "POST" or "PUT" or "PATCH" or "DELETE" or "HEAD" or "OPTIONS",
            _ => call.Method is "GET" or "POST",
        };
        if (!isServed)
            throw ResourceRouter.MethodNotAllowed();
        if (call is not HttpApiCall http)
            throw ApiStatus.BadRequest("streams need a connection; inside the process there is none").ToException();
        if (subresource == "log")
            return LogAsync(http);
        if (QueryReader.TryGet(call.Info.Query, "dryRun"u8, out _))
            throw ApiStatus.BadRequest("dryRun is not supported").ToException();
        return ConnectAsync(http, endpoint, subresource);
    }

    internal static string HostOf(string host, int port) => host.Contains(':', StringComparison.Ordinal) ? $"[{host}]:{port}" : $"{host}:{port}";

    private ValueTask LogAsync(HttpApiCall call)
    {
        var target = targets.Resolve(call, "log");
        if (target.Node.Length > 0)
            return logs.StreamAsync(call, kubelets.Find(target.Node), target.PathAndQuery);
        // Not scheduled: there is no log, and there is nothing wrong.
        call.Start(204, "", 0);
        return ValueTask.CompletedTask;
    }

    // Admission sees what is asked for as an object of its own.
    private async ValueTask ConnectAsync(HttpApiCall call, ResourceEndpoint endpoint, string subresource)
    {
        var kind = ConnectOptions.KindOf(endpoint.Info.Resource, subresource);
        using (var options = ConnectOptions.Read(call, kind, subresource))
        {
            await writes.AdmitAsync(new AdmissionContext
            {
                Operation = AdmissionOperation.Connect, Resource = endpoint.Info, Subresource = subresource, Kind = kind, Namespace = call.Info.NamespaceText,
                Name = call.Info.NameText, User = call.User, Object = options.Root, Call = call,
            }, call.Aborted).ConfigureAwait(false);
        }
        await (subresource == "proxy" ? ProxyAsync(call, endpoint) : UpgradeAsync(call, subresource)).ConfigureAwait(false);
    }

    private async ValueTask UpgradeAsync(HttpApiCall call, string subresource)
    {
        await DemandCreateAsync(call).ConfigureAwait(false);
        var target = targets.Resolve(call, subresource);
        var address = kubelets.Find(target.Node);
        if (!UpgradeTunnel.IsUpgrade(call))
            throw ApiStatus.BadRequest("Upgrade request required").ToException();
        await UpgradeTunnel.RunAsync(call, cancel => kubelets.ConnectAsync(address, cancel), target.PathAndQuery).ConfigureAwait(false);
        Log.StreamEnded(logger, target.Node, subresource);
    }

    private async ValueTask ProxyAsync(HttpApiCall call, ResourceEndpoint endpoint)
    {
        // What a kubelet upgrades is exec, attach and port-forward in any pod of its node: that is judged as what it does, whatever the method.
        if (endpoint.Info.Resource == "nodes" && UpgradeTunnel.IsUpgrade(call))
            await DemandCreateAsync(call).ConfigureAwait(false);
        var target = await proxies.ResolveAsync(call, endpoint.Info.Resource).ConfigureAwait(false);
        await proxy.PassAsync(call, target).ConfigureAwait(false);
    }

    // A browser opens a WebSocket by GET, and still it makes something happen in the pod.
    private async ValueTask DemandCreateAsync(ApiCall call)
    {
        if (call.Info.Verb == Verb.Create)
            return;
        var decision = await authorizer.AuthorizeAsync(AuthorizationAttributes.Of(call.Info, call.User, Verb.Create), call.Aborted).ConfigureAwait(false);
        if (!decision.IsAllowed)
            throw ApiStatus.Forbidden("", Encoding.UTF8.GetString(call.Info.Resource), call.Info.NameText, decision.Reason).ToException();
    }
}
