using System.Net;
using System.Net.Sockets;
using K3sFast.Kubelet.Containers;
using k8s.Models;

namespace K3sFast.Kubelet.Probes;

/// <summary>
/// HTTP requests to pods for probes and hooks: certificates are not checked, redirects to another host count as an answer, nothing is kept alive
/// between two requests.
/// </summary>
internal sealed class HttpProber : IDisposable
{
    // What is read of an answer; upstream's bound.
    private const int MaxBodyBytes = 10 * 1024;
    private const int MaxRedirects = 10;

    private readonly HttpMessageInvoker _http = new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        UseProxy = false,
        PooledConnectionLifetime = TimeSpan.Zero,
        SslOptions = { RemoteCertificateValidationCallback = static (_, _, _, _) => true },
    });

    public void Dispose() => _http.Dispose();

    /// <summary>Asks; success is any code from 200 to 399. The message is the one that events show.</summary>
    public async Task<(bool IsSuccess, string Message)> GetAsync(
        V1HTTPGetAction get, V1Container spec, string podIP, TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (ProbePorts.Resolve(get.Port, spec) is not { } port) return (false, $"couldn't find port: {get.Port.Value}");
        var scheme = string.Equals(get.Scheme, "HTTPS", StringComparison.OrdinalIgnoreCase) ? "https" : "http";
        var host = string.IsNullOrEmpty(get.Host) ? podIP : get.Host;
        if (host.Contains(':')) host = $"[{host}]";
        var path = string.IsNullOrEmpty(get.Path) ? "/" : get.Path.StartsWith('/') ? get.Path : "/" + get.Path;
        if (!Uri.TryCreate($"{scheme}://{host}:{port}{path}", UriKind.Absolute, out var uri)) return (false, $"invalid URL: {path}");
        var first = uri;
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        bound.CancelAfter(timeout);
        try
        {
            for (var redirects = 0; ; redirects++)
            {
                using var request = CreateRequest(uri, get);
                using var response = await _http.SendAsync(request, bound.Token).ConfigureAwait(false);
                var code = (int)response.StatusCode;
                if (code is >= 300 and < 400 && response.Headers.Location is { } location)
                {
                    var next = location.IsAbsoluteUri ? location : new Uri(uri, location);
                    if (next.Host != first.Host || redirects >= MaxRedirects) return (true, $"Probe terminated redirects, Response body: ");
                    uri = next;
                    continue;
                }
                if (code is >= 200 and < 400) return (true, "");
                _ = await ReadStartAsync(response, bound.Token).ConfigureAwait(false);
                return (false, $"HTTP probe failed with statuscode: {code}");
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return (false, $"Get \"{first}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
        }
        catch (HttpRequestException e)
        {
            return (false, e.InnerException is SocketException socket
                ? $"Get \"{first}\": dial tcp {host}:{port}: connect: {ProbePorts.Describe(socket)}"
                : $"Get \"{first}\": {e.Message}");
        }
        catch (IOException e)
        {
            return (false, $"Get \"{first}\": {e.Message}");
        }
    }

    private static HttpRequestMessage CreateRequest(Uri uri, V1HTTPGetAction get)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, uri) { Version = HttpVersion.Version11, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        request.Headers.ConnectionClose = true;
        foreach (var header in get.HttpHeaders ?? [])
        {
            if (string.Equals(header.Name, "Host", StringComparison.OrdinalIgnoreCase)) request.Headers.Host = header.Value;
            else request.Headers.TryAddWithoutValidation(header.Name, header.Value);
        }
        if (!request.Headers.Contains("User-Agent")) request.Headers.TryAddWithoutValidation("User-Agent", "kube-probe/1.36");
        if (!request.Headers.Contains("Accept")) request.Headers.TryAddWithoutValidation("Accept", "*/*");
        return request;
    }

    private static async Task<string> ReadStartAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        var buffer = new byte[MaxBodyBytes];
        var stream = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        var length = await stream.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        return System.Text.Encoding.UTF8.GetString(buffer, 0, length);
    }
}

/// <summary>Ports of probes and hooks, by number or by name.</summary>
internal static class ProbePorts
{
    /// <summary>The port's number, or null when the container names no such port.</summary>
    public static int? Resolve(IntOrString port, V1Container spec)
    {
        if (int.TryParse(port.Value, out var number)) return number is > 0 and < 65536 ? number : null;
        foreach (var candidate in spec.Ports ?? [])
        {
            if (candidate.Name == port.Value) return candidate.ContainerPort;
        }
        return null;
    }

    /// <summary>A socket's failure in the kernel's words.</summary>
    public static string Describe(SocketException failure) => failure.SocketErrorCode switch
    {
        SocketError.ConnectionRefused => "connection refused",
        SocketError.HostUnreachable => "no route to host",
        SocketError.NetworkUnreachable => "network is unreachable",
        SocketError.TimedOut => "i/o timeout",
        SocketError.ConnectionReset => "connection reset by peer",
        _ => failure.Message,
    };
}
