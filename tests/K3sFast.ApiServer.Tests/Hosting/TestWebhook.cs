using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace K3sFast.ApiServer.Tests;

/// <summary>A TLS server that answers JSON with JSON: a webhook, or an issuer of tokens. It keeps what it was asked.</summary>
internal sealed class TestWebhook : IAsyncDisposable
{
    private readonly WebApplication _application;
    private readonly TestCertificates _certificates;

    private TestWebhook(WebApplication application, TestCertificates certificates, string url)
    {
        _application = application;
        _certificates = certificates;
        Url = url;
    }

    internal string Url { get; }

    internal List<(string Path, JsonNode? Body)> Requests { get; } = [];

    internal string AuthorityPem => _certificates.Authority.ExportCertificatePem();

    internal static async Task<TestWebhook> StartAsync(Func<string, JsonNode?, (int Code, JsonNode? Answer)> answer)
    {
        var certificates = new TestCertificates();
        TestWebhook? self = null;
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddRoutingCore();
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps(certificates.Serving)));
        var application = builder.Build();
        application.Run(async context =>
        {
            using var reader = new StreamReader(context.Request.Body);
            var text = await reader.ReadToEndAsync();
            var body = text.Length == 0 ? null : JsonNode.Parse(text);
            lock (self!.Requests)
                self.Requests.Add((context.Request.Path, body));
            var (code, reply) = answer(context.Request.Path, body);
            context.Response.StatusCode = code;
            context.Response.ContentType = "application/json";
            await context.Response.WriteAsync(reply?.ToJsonString() ?? "");
        });
        await application.StartAsync();
        var url = application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        return self = new TestWebhook(application, certificates, url);
    }

    internal int Count
    {
        get
        {
            lock (Requests)
                return Requests.Count;
        }
    }

    /// <summary>Writes a kubeconfig that leads here.</summary>
    internal string WriteKubeconfig(string directory, string path = "/")
    {
        var file = Path.Combine(directory, "webhook.kubeconfig");
        var authority = Convert.ToBase64String(Encoding.UTF8.GetBytes(AuthorityPem));
        File.WriteAllText(file, $$"""
            apiVersion: v1
            kind: Config
            clusters:
            - name: webhook
              cluster: {server: "{{Url}}{{path}}", certificate-authority-data: {{authority}}}
            users:
            - name: api
              user: {token: secret}
            contexts:
            - name: webhook
              context: {cluster: webhook, user: api}
            current-context: webhook
            """);
        return file;
    }

    public async ValueTask DisposeAsync() => await _application.DisposeAsync();
}
