using System.Buffers;
using System.Globalization;
using System.IO.Compression;
using System.IO.Pipelines;
using System.Net;
using System.Text;
using K3sFast.ApiMachinery;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace K3sFast.ApiServer;

/// <summary>
/// The reverse proxy behind pods/proxy, services/proxy and nodes/proxy: any method, bodies streamed both ways, upgrades carried through, links and
/// redirects of pages led back through the same path.
/// </summary>
internal sealed class BackendProxy : IDisposable
{
    private const int PieceBytes = 16 * 1024;

    private readonly KubeletConnector _kubelets;
    private readonly BackendDialer _dialer;
    private readonly HttpMessageInvoker _http;

    internal BackendProxy(KubeletConnector kubelets, BackendDialer dialer)
    {
        _kubelets = kubelets;
        _dialer = dialer;
        _http = dialer.MakeHttp(BackendDialer.UnverifiedTls());
    }

    internal async ValueTask PassAsync(HttpApiCall call, ProxyTarget target)
    {
        var prefix = Encoding.UTF8.GetString(call.Info.Path[..(call.Info.Path.Length - call.Info.Rest.Length)]);
        var path = ProxyPath.Clean(Encoding.UTF8.GetString(call.Info.Rest));
        var query = call.Info.Query.IsEmpty ? "" : $"?{Encoding.UTF8.GetString(call.Info.Query)}";
        var escaped = path.Length == 0 ? "/" : ProxyPath.Escape(path);
        if (UpgradeTunnel.IsUpgrade(call))
        {
            await UpgradeTunnel.RunAsync(call, cancel => ConnectAsync(target, cancel), escaped + query).ConfigureAwait(false);
            return;
        }
        // Relative links of a page only work below a directory.
        if (path.Length == 0 && call.Method is "GET" or "HEAD")
        {
            call.SetHeader("Location", $"{prefix}/{query}");
            call.Start(301, "", 0);
            return;
        }
        using var request = new HttpRequestMessage(new HttpMethod(call.Method), new Uri(
            $"{target.Scheme}://{StreamRouter.HostOf(target.Host, target.Port)}{escaped}{query}", new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }));
        if (call.Features.Get<IHttpRequestBodyDetectionFeature>() is { CanHaveBody: true })
        {
            // A stream through us may say nothing for hours.
            if (call.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } rate)
                rate.MinDataRate = null;
            request.Content = new BodyContent(call);
        }
        ProxyHeaders.CopyRequest(call, request);
        request.Headers.TryAddWithoutValidation("X-Forwarded-Uri", prefix + escaped);
        using var response = await SendAsync(call, target, request).ConfigureAwait(false);
        await AnswerAsync(call, response, new ProxyLinks(prefix, target.Authority, call.RequestHeaders.Host.ToString())).ConfigureAwait(false);
    }

    public void Dispose() => _http.Dispose();

    private Task<Stream> ConnectAsync(ProxyTarget target, CancellationToken cancel) => target.IsKubelet
        ? _kubelets.ConnectAsync(new KubeletAddress("", target.Host, target.Port), cancel)
        : _dialer.ConnectAsync(target.Host, target.Port, target.IsTls ? BackendDialer.UnverifiedTls() : null, cancel);

    private async Task<HttpResponseMessage> SendAsync(HttpApiCall call, ProxyTarget target, HttpRequestMessage request)
    {
        try
        {
            return await (target.IsKubelet ? _kubelets.Http : _http).SendAsync(request, call.Aborted).ConfigureAwait(false);
        }
        catch (Exception error) when (BackendDialer.IsFailure(error, call.Aborted))
        {
            var why = BackendDialer.Describe(target.Host, target.Port, error);
            throw ApiStatus.ServiceUnavailable($"error trying to reach service: {why}").ToException();
        }
    }

    private static async ValueTask AnswerAsync(HttpApiCall call, HttpResponseMessage response, ProxyLinks links)
    {
        var answer = call.Features.GetRequiredFeature<IHttpResponseFeature>();
        call.Start((int)response.StatusCode, "", -1);
        ProxyHeaders.CopyResponse(response, answer.Headers);
        var redirect = answer.Headers.Location.ToString();
        if (redirect.Length > 0)
            answer.Headers.Location = links.Rewrite(redirect);
        var encoding = answer.Headers.ContentEncoding.ToString();
        var isPage = redirect.Length == 0 && call.Method != "HEAD" && IsHtml(answer.Headers.ContentType.ToString()) && encoding is "" or "gzip" or "deflate";
        if (isPage)
        {
            // The page changes its length, and is sent as it is.
            answer.Headers.ContentLength = null;
            answer.Headers.Remove("Content-Encoding");
        }
        var isDone = false;
        try
        {
            var body = await response.Content.ReadAsStreamAsync(call.Aborted).ConfigureAwait(false);
            await using (body.ConfigureAwait(false))
            {
                await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
                if (isPage)
                    await CopyPageAsync(call, body, encoding, new HtmlLinkRewriter(links)).ConfigureAwait(false);
                else
                    await CopyAsync(call, body).ConfigureAwait(false);
            }
            if (call.Features.Get<IHttpResponseTrailersFeature>() is { } trailers)
            {
                foreach (var (name, values) in response.TrailingHeaders.NonValidated)
                    trailers.Trailers.Append(name, values.ToString());
            }
            isDone = true;
        }
        catch (Exception error) when (BackendDialer.IsFailure(error, call.Aborted) || error is InvalidDataException)
        {
            // What is cut short must not look whole.
        }
        if (!isDone)
            call.Features.GetRequiredFeature<IHttpRequestLifetimeFeature>().Abort();
    }

    // Every piece goes out as it comes: whoever streams through us does not wait for a full buffer.
    private static async Task CopyAsync(HttpApiCall call, Stream body)
    {
        var output = call.Output;
        while (await body.ReadAsync(output.GetMemory(PieceBytes), call.Aborted).ConfigureAwait(false) is > 0 and var read)
        {
            output.Advance(read);
            if ((await output.FlushAsync(call.Aborted).ConfigureAwait(false)).IsCompleted)
                return;
        }
    }

    private static async Task CopyPageAsync(HttpApiCall call, Stream body, string encoding, HtmlLinkRewriter page)
    {
        var source = encoding switch
        {
            "gzip" => new GZipStream(body, CompressionMode.Decompress),
            "deflate" => new DeflateStream(body, CompressionMode.Decompress),
            _ => body,
        };
        var buffer = ArrayPool<byte>.Shared.Rent(PieceBytes);
        try
        {
            while (await source.ReadAsync(buffer, call.Aborted).ConfigureAwait(false) is > 0 and var read)
            {
                page.Write(buffer.AsSpan(0, read), call.Output, isLast: false);
                if ((await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false)).IsCompleted)
                    return;
            }
            page.Write([], call.Output, isLast: true);
            await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
            if (!ReferenceEquals(source, body))
                await source.DisposeAsync().ConfigureAwait(false);
        }
    }

    private static bool IsHtml(string contentType)
    {
        var end = contentType.IndexOf(';', StringComparison.Ordinal);
        return contentType.AsSpan(0, end < 0 ? contentType.Length : end).Trim().SequenceEqual("text/html");
    }

    /// <summary>The client's body on its way to the backend, piece by piece.</summary>
    private sealed class BodyContent : HttpContent
    {
        private readonly HttpApiCall _call;
        private readonly long? _length;

        internal BodyContent(HttpApiCall call)
        {
            _call = call;
            _length = call.RequestHeaders.ContentLength;
        }

        protected override bool TryComputeLength(out long length)
        {
            length = _length ?? 0;
            return _length is not null;
        }

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            var reader = _call.BodyReader;
            while (true)
            {
                var read = await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
                foreach (var piece in read.Buffer)
                    await stream.WriteAsync(piece, cancellationToken).ConfigureAwait(false);
                await stream.FlushAsync(cancellationToken).ConfigureAwait(false);
                reader.AdvanceTo(read.Buffer.End);
                if (read.IsCompleted)
                    return;
            }
        }
    }
}
