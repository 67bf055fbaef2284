using System.Globalization;
using System.IO.Pipelines;
using System.Text;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>log, exec, attach, port-forward and proxy: requests that a kubelet, a pod or a service answers.</summary>
internal sealed class StreamRouter(KubeletConnector kubelets, PodTargets targets, ProxyTargets proxies, ILogger logger)
{
    internal ValueTask RouteAsync(ApiCall call, ResourceEndpoint endpoint, string subresource) => subresource switch
    {
        "log" when call.Info.Verb == Verb.Get => LogAsync(call),
        "proxy" => ProxyAsync(call, endpoint),
        "exec" or "attach" or "portforward" when call.Info.Verb is Verb.Get or Verb.Create => UpgradeAsync(call, subresource),
        _ => throw ResourceRouter.MethodNotAllowed(),
    };

    private async ValueTask UpgradeAsync(ApiCall call, string subresource)
    {
        var target = targets.Resolve(call, subresource);
        if (call is not HttpApiCall http || !UpgradeTunnel.IsUpgrade(http))
            throw ApiStatus.BadRequest("Upgrade request required").ToException();
        var address = kubelets.Find(target.Node);
        var backend = await kubelets.ConnectAsync(address, call.Aborted).ConfigureAwait(false);
        await UpgradeTunnel.RunAsync(http, backend, HostOf(address.Host, address.Port), target.PathAndQuery).ConfigureAwait(false);
        Log.StreamEnded(logger, target.Node, subresource);
    }

    private async ValueTask LogAsync(ApiCall call)
    {
        var target = targets.Resolve(call, "log");
        if (target.Node.Length == 0)
        {
            await ResponseWriter.WriteTextAsync(call, 200, "", "text/plain").ConfigureAwait(false);
            return;
        }
        var address = kubelets.Find(target.Node);
        using var request = new HttpRequestMessage(HttpMethod.Get, $"https://{HostOf(address.Host, address.Port)}{target.PathAndQuery}");
        using var response = await SendAsync(request, address, call.Aborted).ConfigureAwait(false);
        if ((int)response.StatusCode is < 200 or > 206)
            throw await RefusalAsync(response, "pods/log", call).ConfigureAwait(false);
        call.Start(200, "text/plain", -1);
        await CopyAsync(response, call).ConfigureAwait(false);
    }

    private async ValueTask ProxyAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var target = proxies.Resolve(call, endpoint.Info.Resource);
        var rest = call.Info.Rest.IsEmpty ? "/" : EscapePath(call.Info.Rest);
        var query = call.Info.Query.IsEmpty ? "" : $"?{Encoding.UTF8.GetString(call.Info.Query)}";
        var uri = $"{target.Scheme}://{HostOf(target.Address.Host, target.Address.Port)}{rest}{query}";
        using var request = new HttpRequestMessage(new HttpMethod(call.Method), uri);
        using var body = await call.ReadBodyAsync(long.MaxValue >> 24).ConfigureAwait(false);
        if (body.Length > 0)
        {
            request.Content = new ReadOnlyMemoryContent(body.Written);
            if (call.ContentType is { Length: > 0 } type)
                request.Content.Headers.TryAddWithoutValidation("Content-Type", type);
        }
        if (call.Accept is { Length: > 0 } accept)
            request.Headers.TryAddWithoutValidation("Accept", accept);
        using var response = await SendAsync(request, target.Address, call.Aborted).ConfigureAwait(false);
        foreach (var header in response.Headers)
        {
            if (!header.Key.Equals("Transfer-Encoding", StringComparison.OrdinalIgnoreCase) && !header.Key.Equals("Connection", StringComparison.OrdinalIgnoreCase))
                call.SetHeader(header.Key, string.Join(", ", header.Value));
        }
        call.Start((int)response.StatusCode, response.Content.Headers.ContentType?.ToString() ?? "text/plain", response.Content.Headers.ContentLength ?? -1);
        await CopyAsync(response, call).ConfigureAwait(false);
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, KubeletAddress address, CancellationToken cancel)
    {
        try
        {
            return await kubelets.Http.SendAsync(request, cancel).ConfigureAwait(false);
        }
        catch (Exception error) when (error is HttpRequestException || error is OperationCanceledException && !cancel.IsCancellationRequested)
        {
            throw KubeletConnector.DialFailed(address, error);
        }
    }

    // Every piece goes out as it comes: a followed log must not wait for a full buffer.
    private static async Task CopyAsync(HttpResponseMessage response, ApiCall call)
    {
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(call.Aborted, call.Stopping);
        var source = await response.Content.ReadAsStreamAsync(cancel.Token).ConfigureAwait(false);
        await using (source.ConfigureAwait(false))
        {
            var output = call.Output;
            await output.FlushAsync(cancel.Token).ConfigureAwait(false);
            while (true)
            {
                var read = await ReadAsync(source, output, call, cancel.Token).ConfigureAwait(false);
                if (read <= 0)
                    return;
                output.Advance(read);
                if ((await output.FlushAsync(cancel.Token).ConfigureAwait(false)).IsCompleted)
                    return;
            }
        }
    }

    private static async Task<int> ReadAsync(Stream source, PipeWriter output, ApiCall call, CancellationToken cancel)
    {
        try
        {
            return await source.ReadAsync(output.GetMemory(4096), cancel).ConfigureAwait(false);
        }
        catch (Exception error) when (error is IOException or HttpRequestException or OperationCanceledException && !call.Aborted.IsCancellationRequested)
        {
            // The backend broke off, or we stop: what came has been sent.
            return 0;
        }
    }

    private static async Task<ApiStatusException> RefusalAsync(HttpResponseMessage response, string resource, ApiCall call)
    {
        var text = (await response.Content.ReadAsStringAsync(call.Aborted).ConfigureAwait(false)).TrimEnd('\n');
        var code = (int)response.StatusCode;
        return (code switch
        {
            500 => ApiStatus.InternalError(text),
            400 => ApiStatus.BadRequest(text),
            _ => new ApiStatus
            {
                Code = code,
                Reason = code switch { 401 => "Unauthorized", 403 => "Forbidden", 404 => "NotFound", 503 => "ServiceUnavailable", _ => "" },
                HasDetails = true,
                Kind = resource,
                Name = call.Info.NameText,
                Causes = text.Length > 0 ? [new StatusCause("UnexpectedServerResponse", text)] : [],
                Message = code == 404
                    ? $"the server could not find the requested resource ( {resource} {call.Info.NameText})"
                    : string.Create(CultureInfo.InvariantCulture, $"the server responded with the status code {code} but did not return more information ( {resource} {call.Info.NameText}): {text}"),
            },
        }).ToException();
    }

    private static string EscapePath(ReadOnlySpan<byte> path) =>
        string.Join('/', Encoding.UTF8.GetString(path).Split('/').Select(Uri.EscapeDataString));

    internal static string HostOf(string host, int port) => host.Contains(':', StringComparison.Ordinal) ? $"[{host}]:{port}" : $"{host}:{port}";
}
