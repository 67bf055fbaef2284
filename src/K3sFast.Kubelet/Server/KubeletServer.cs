using System.Net;
using K3sFast.Client;
using K3sFast.Kubelet.Pods;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Server;

/// <summary>The kubelet's API over TLS, and the plain health check on the loopback. Kestrel is the transport; everything above it is here.</summary>
internal sealed class KubeletServer : IHttpApplication<KubeletRequest>
{
    private readonly KubeletOptions _options;
    private readonly KubeletAuth _auth;
    private readonly PodManager _pods;
    private readonly Pleg _pleg;
    private readonly ContainerLogHandler _logs;
    private readonly PodListHandler _lists;
    private readonly StreamHandler _streams;
    private readonly StatsHandler _stats;
    private readonly NodeLogHandler _nodeLogs = new();
    private readonly ConfigHandler _config;
    private readonly ILogger _logger;

    public KubeletServer(KubeletOptions options, ApiClient client, PodServices services, PodManager pods, Pleg pleg, ILogger logger)
    {
        (_options, _pods, _pleg, _logger) = (options, pods, pleg, logger);
        _auth = new KubeletAuth(options, client, services.Time);
        _logs = new ContainerLogHandler(pods, services);
        _lists = new PodListHandler(pods);
        _streams = new StreamHandler(pods, services);
        _stats = new StatsHandler(pods, services);
        _config = new ConfigHandler(options);
    }

    /// <summary>Serves until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        if (_options.ServingCertificate is not { } certificate) throw new InvalidOperationException("the kubelet's API needs a serving certificate; set Port to -1 to do without the API");
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 1024 * 1024;
            // Streams of exec and log may say nothing for hours.
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Limits.MinRequestBodyDataRate = null;
            kestrel.Listen(_options.BindAddress, _options.Port, listen =>
            {
                listen.Protocols = HttpProtocols.Http1AndHttp2;
                listen.UseHttps(https =>
                {
                    https.ServerCertificateSelector = (_, _) => certificate();
                    https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
                    // Judged per request: a bearer token may come instead.
                    https.ClientCertificateValidation = static (_, _, _) => true;
                });
            });
            if (_options.HealthzPort >= 0) kestrel.Listen(IPAddress.Loopback, _options.HealthzPort, listen => listen.Protocols = HttpProtocols.Http1);
        });
        await using var application = builder.Build();
        var server = application.Services.GetRequiredService<IServer>();
        await server.StartAsync(this, cancellationToken).ConfigureAwait(false);
        Log.Listening(_logger, _options.BindAddress.ToString(), _options.Port);
        try
        {
            await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            // Open streams are cut: their clients connect again when we are back.
            await server.StopAsync(new CancellationToken(canceled: true)).ConfigureAwait(false);
        }
    }

    public KubeletRequest CreateContext(IFeatureCollection contextFeatures) => new(contextFeatures);

    public void DisposeContext(KubeletRequest context, Exception? exception)
    {
    }

    public async Task ProcessRequestAsync(KubeletRequest context)
    {
        try
        {
            await HandleAsync(context).ConfigureAwait(false);
        }
        catch (KubeletRequestException e) when (!context.HasStarted)
        {
            await context.AnswerAsync(e.Code, e.Message).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (context.Aborted.IsCancellationRequested)
        {
            // The client is gone.
        }
        catch (Exception e) when (e is ApiException or HttpRequestException or IOException or Grpc.Core.RpcException or UnauthorizedAccessException)
        {
            var reason = e is Grpc.Core.RpcException rpc ? rpc.Status.Detail : e.Message;
            Log.RequestFailed(_logger, context.Method, context.Path, reason);
            if (!context.HasStarted) await context.AnswerAsync(500, reason).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            Log.RequestFaulted(_logger, context.Method, context.Path, e);
            if (!context.HasStarted) await context.AnswerAsync(500, "Internal Server Error").ConfigureAwait(false);
        }
    }

    private async Task HandleAsync(KubeletRequest request)
    {
        if (request.LocalPort == _options.HealthzPort)
        {
            if (request.Path is "/healthz") await HealthAsync(request).ConfigureAwait(false);
            else await request.AnswerAsync(404, "404 page not found\n").ConfigureAwait(false);
            return;
        }
        if (await _auth.AuthenticateAsync(request).ConfigureAwait(false) is not { } user)
        {
            await request.AnswerAsync(401, "Unauthorized").ConfigureAwait(false);
            return;
        }
        if (!await _auth.AuthorizeAsync(user, request.Method, request.Path, request.Aborted).ConfigureAwait(false))
        {
            var subresources = string.Join(' ', KubeletAuth.Subresources(request.Path));
            await request.AnswerAsync(403, $"Forbidden (user={user.Name}, verb={KubeletAuth.Verb(request.Method)}, resource=nodes, subresource(s)=[{subresources}])\n").ConfigureAwait(false);
            return;
        }
        await RouteAsync(request).ConfigureAwait(false);
    }

    private Task RouteAsync(KubeletRequest request)
    {
        var parts = request.Path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        return parts switch
        {
            ["healthz", ..] => HealthAsync(request),
            ["pods"] => _lists.PodsAsync(request),
            ["runningpods"] => _lists.RunningPodsAsync(request),
            ["containerLogs", var ns, var pod, var container] => _logs.HandleAsync(request, ns, pod, container),
            ["exec", var ns, var pod, var container] => _streams.ExecAsync(request, ns, pod, null, container),
            ["exec", var ns, var pod, var uid, var container] => _streams.ExecAsync(request, ns, pod, uid, container),
            ["attach", var ns, var pod, var container] => _streams.AttachAsync(request, ns, pod, null, container),
            ["attach", var ns, var pod, var uid, var container] => _streams.AttachAsync(request, ns, pod, uid, container),
            ["portForward", var ns, var pod] => _streams.PortForwardAsync(request, ns, pod, null),
            ["portForward", var ns, var pod, var uid] => _streams.PortForwardAsync(request, ns, pod, uid),
            ["run", var ns, var pod, var container] => _streams.RunAsync(request, ns, pod, container),
            ["logs", ..] => _nodeLogs.HandleAsync(request),
            ["configz"] => _config.HandleAsync(request),
            ["stats", "summary"] => _stats.SummaryAsync(request),
            ["metrics"] => _stats.MetricsAsync(request),
            ["metrics", "resource"] => _stats.ResourceMetricsAsync(request),
            ["metrics", "cadvisor"] => _stats.ContainerMetricsAsync(request),
            _ => request.AnswerAsync(404, "404 page not found\n"),
        };
    }

    // As upstream: the relist of containers must not have stopped (3 min), nor may the runtime be away.
    private Task HealthAsync(KubeletRequest request)
    {
        var age = DateTimeOffset.UtcNow - _pleg.LastRelist;
        var isHealthy = age < TimeSpan.FromMinutes(3) || _pods.Workers.Count == 0;
        return isHealthy ? request.AnswerAsync(200, "ok") : request.AnswerAsync(500, $"PLEG was last seen active {age:c} ago; threshold is 3m0s");
    }
}
