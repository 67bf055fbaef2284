using System.Net;
using System.Net.Http.Headers;

namespace K3sFast.ApiServer;

/// <summary>A webhook did not answer as it should.</summary>
internal sealed class WebhookException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// Posts JSON to a webhook and hands back its answer; failures that may pass by themselves (connection lost, 429, 500, 504, a Retry-After) are
/// tried again with growing delay, as upstream does.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class WebhookClient : IDisposable
{
    // Answers are small reviews; longer ones are refused.
    private const int MaxAnswerBytes = 3 * 1024 * 1024;

    private readonly HttpClient _client;
    private readonly WebhookKubeconfig _kubeconfig;
    private readonly TimeSpan _timeout;
    private readonly WebhookBackoff _backoff;

    internal WebhookClient(WebhookKubeconfig kubeconfig, TimeSpan timeout, WebhookBackoff backoff)
    {
        _kubeconfig = kubeconfig;
        _timeout = timeout;
        _backoff = backoff;
        _client = new HttpClient(kubeconfig.CreateHandler()) { Timeout = Timeout.InfiniteTimeSpan, MaxResponseContentBufferSize = MaxAnswerBytes };
        _client.DefaultRequestVersion = HttpVersion.Version20;
        _client.DefaultVersionPolicy = HttpVersionPolicy.RequestVersionOrLower;
    }

    /// <summary>The answer's body.</summary>
    /// <exception cref="WebhookException">No good answer after all tries.</exception>
    internal async ValueTask<byte[]> PostAsync(ReadOnlyMemory<byte> json, CancellationToken cancel)
    {
        var delay = _backoff.First;
        for (var tries = 1; ; tries++)
        {
            try
            {
                return await PostOnceAsync(json, cancel).ConfigureAwait(false);
            }
            catch (Retryable) when (tries < _backoff.Steps)
            {
                // Tried again below.
            }
            catch (Retryable last)
            {
                throw new WebhookException(last.Message, last.InnerException);
            }
            catch (WebhookException) when (_backoff.RetriesAlways && tries < _backoff.Steps)
            {
                // As above: the next try may find it better.
            }
            var jitter = 1 + Random.Shared.NextDouble() * 0.2;
            await Task.Delay(delay * jitter, cancel).ConfigureAwait(false);
            delay *= _backoff.Factor;
        }
    }

    public void Dispose() => _client.Dispose();

    private async Task<byte[]> PostOnceAsync(ReadOnlyMemory<byte> json, CancellationToken cancel)
    {
        var where = $"Post {K3sFast.ApiMachinery.GoText.Quote(_kubeconfig.Server.ToString())}";
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(_timeout);
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, _kubeconfig.Server) { Content = new ReadOnlyMemoryContent(json) };
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            request.Headers.Accept.ParseAdd("application/json, */*");
            if (_kubeconfig.Authorization is { } authorization)
                request.Headers.TryAddWithoutValidation("Authorization", authorization);
            using var response = await _client.SendAsync(request, HttpCompletionOption.ResponseContentRead, limit.Token).ConfigureAwait(false);
            if (response.IsSuccessStatusCode)
                return await response.Content.ReadAsByteArrayAsync(limit.Token).ConfigureAwait(false);
            var message = $"{where}: the server answered {(int)response.StatusCode}";
            throw (int)response.StatusCode is 429 or 500 or 504 || response.Headers.RetryAfter is not null
                ? new Retryable(message, null)
                : new WebhookException(message);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new WebhookException($"{where}: context deadline exceeded");
        }
        catch (HttpRequestException error) when (error.HttpRequestError is HttpRequestError.ResponseEnded or HttpRequestError.HttpProtocolError
            || error.InnerException is IOException { InnerException: System.Net.Sockets.SocketException { SocketErrorCode: System.Net.Sockets.SocketError.ConnectionReset } })
        {
            throw new Retryable($"{where}: {error.Message}", error);
        }
        catch (Exception error) when (error is HttpRequestException or IOException or UnauthorizedAccessException)
        {
            throw new WebhookException($"{where}: {error.Message}", error);
        }
    }

    private sealed class Retryable(string message, Exception? inner) : Exception(message, inner);
}

/// <summary>How often and how soon a webhook is asked again.</summary>
/// <param name="First">The first delay.</param>
/// <param name="Factor">By which each further delay grows.</param>
/// <param name="Steps">Tries in all.</param>
/// <param name="RetriesAlways">Every failure is tried again, not only those that may pass by themselves.</param>
internal readonly record struct WebhookBackoff(TimeSpan First, double Factor, int Steps, bool RetriesAlways = false)
{
    /// <summary>What upstream uses for authentication and authorization.</summary>
    internal static WebhookBackoff Default => new(TimeSpan.FromMilliseconds(500), 1.5, 5);
}
