using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Abstractions;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Benchmarks;

/// <summary>
/// Kestrel with our transport settings and as little above it as keeps a stream open: the head of an answer, a flush, and a wait for the client to go.
/// </summary>
internal sealed class BareStreams : IHttpApplication<IFeatureCollection>, IAsyncDisposable
{
    private readonly WebApplication _application;

    private BareStreams(WebApplication application, int port) => (_application, Port) = (application, port);

    internal int Port { get; }

    internal static async Task<BareStreams> StartAsync(X509Certificate2 serving)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton<ILoggerFactory>(NullLoggerFactory.Instance);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Limits.MinRequestBodyDataRate = null;
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Limits.Http2.MaxStreamsPerConnection = 250;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(30);
            kestrel.Limits.Http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(15);
            kestrel.Listen(IPAddress.Loopback, 0, listen =>
            {
                listen.Protocols = HttpProtocols.Http1AndHttp2;
                listen.UseHttps(https =>
                {
                    https.ServerCertificate = serving;
                    https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
                    https.ClientCertificateValidation = static (_, _, _) => true;
                });
            });
        });
        var application = builder.Build();
        var server = application.Services.GetRequiredService<IServer>();
        var streams = new BareStreams(application, 0);
        await server.StartAsync(streams, CancellationToken.None).ConfigureAwait(false);
        var address = server.Features.GetRequiredFeature<IServerAddressesFeature>().Addresses.First();
        return new BareStreams(application, new Uri(address).Port);
    }

    public IFeatureCollection CreateContext(IFeatureCollection contextFeatures) => contextFeatures;

    public async Task ProcessRequestAsync(IFeatureCollection context)
    {
        var response = context.GetRequiredFeature<IHttpResponseFeature>();
        response.StatusCode = 200;
        response.Headers.ContentType = "application/json";
        response.Headers.CacheControl = "no-cache, private";
        await context.GetRequiredFeature<IHttpResponseBodyFeature>().Writer.FlushAsync().ConfigureAwait(false);
        var gone = new TaskCompletionSource();
        using var registration = context.GetRequiredFeature<IHttpRequestLifetimeFeature>().RequestAborted.UnsafeRegister(static gone => ((TaskCompletionSource)gone!).TrySetResult(), gone);
        await gone.Task.ConfigureAwait(false);
    }

    public void DisposeContext(IFeatureCollection context, Exception? exception)
    {
    }

    public ValueTask DisposeAsync() => _application.DisposeAsync();
}
