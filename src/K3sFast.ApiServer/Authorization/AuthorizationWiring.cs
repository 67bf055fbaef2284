using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>How requests are authorized.</summary>
public sealed record AuthorizationOptions
{
    /// <summary>The chain in its order; k3s: Node, RBAC.</summary>
    public IReadOnlyList<AuthorizerSpec> Chain { get; init; } = [new() { Type = "Node", Name = "node" }, new() { Type = "RBAC", Name = "rbac" }];

    /// <summary>The file of --authorization-config instead of the chain; "" = none. Read again when it changes.</summary>
    public string ConfigurationFile { get; init; } = "";
}

/// <summary>Makes the chain of authorizers that the options ask for, and keeps it current when it comes from a file.</summary>
internal sealed class AuthorizationWiring : IDisposable
{
    private readonly RbacPolicy _rbac;
    private readonly NodeAuthorizer _nodes;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly ReloadedFile? _file;
    private object[] _chain;

    /// <exception cref="ApiServerStartException">A file cannot be read, or a mode is not served.</exception>
    internal AuthorizationWiring(ApiServerOptions options, RbacPolicy rbac, NodeGraph graph, ApiServerMetrics metrics, ILogger logger)
    {
        _rbac = rbac;
        _nodes = new NodeAuthorizer(graph);
        _clock = options.Clock;
        _logger = logger;
        var wanted = options.Authorization;
        var specs = wanted.Chain;
        if (wanted.ConfigurationFile.Length > 0)
        {
            var path = wanted.ConfigurationFile;
            var bytes = ConfigDocument.Load(AuthorizationConfiguration.Flag, path);
            specs = AuthorizationConfiguration.Read(path, bytes);
            _file = new ReloadedFile(path, bytes, (changed, _) => ReplaceAsync(path, changed, specs), _clock, logger, metrics.Reloads("authorization"));
        }
        _chain = Make(specs);
        Authorizer = new Authorizer(_chain);
    }

    internal Authorizer Authorizer { get; }

    internal IEnumerable<Task> Follow(CancellationToken cancel) => _file is null ? [] : [_file.FollowAsync(cancel)];

    public void Dispose()
    {
        foreach (var webhook in _chain.OfType<WebhookAuthorizer>())
            webhook.Dispose();
    }

    // Webhooks may come and go; the other authorizers were chosen at start and stay.
    private Task<bool> ReplaceAsync(string path, byte[] bytes, IReadOnlyList<AuthorizerSpec> first)
    {
        var specs = AuthorizationConfiguration.Read(path, bytes);
        var required = first.Select(static s => s.Type).Where(static t => t != "Webhook").Order(StringComparer.Ordinal).ToList();
        var missing = required.Where(type => specs.All(spec => spec.Type != type)).ToList();
        if (missing.Count > 0)
            throw new ApiServerStartException($"missing required types: [{string.Join(' ', missing)}]");
        if (specs.Find(spec => spec.Type != "Webhook" && !required.Contains(spec.Type)) is { } added)
            throw new ApiServerStartException($"authorizer {added.Type} cannot be added while the server runs: restart it");
        var next = Make(specs);
        var old = Interlocked.Exchange(ref _chain, next);
        Authorizer.Use(next);
        foreach (var webhook in old.OfType<WebhookAuthorizer>())
            _ = RetireAsync(webhook);
        return Task.FromResult(true);
    }

    // Requests that ask the old one still may end.
    private async Task RetireAsync(WebhookAuthorizer webhook)
    {
        await Task.Delay(TimeSpan.FromMinutes(1), _clock).ConfigureAwait(false);
        webhook.Dispose();
    }

    private object[] Make(IReadOnlyList<AuthorizerSpec> specs)
    {
        if (specs.Count == 0)
            throw new ApiServerStartException("at least one authorization-mode must be passed");
        return [.. specs.Select(Make)];
    }

    private object Make(AuthorizerSpec spec) => spec.Type switch
    {
        "Node" => _nodes,
        "RBAC" => _rbac,
        "AlwaysAllow" => new AllowEverything(),
        "AlwaysDeny" => new DenyEverything(),
        "Webhook" => new WebhookAuthorizer(
            spec, new WebhookClient(WebhookKubeconfig.Load("authorization-webhook-config-file", spec.KubeconfigFile), spec.Timeout, WebhookBackoff.Default), _clock, _logger),
        "ABAC" => throw new ApiServerStartException("authorization mode ABAC is not served: use RBAC, or a webhook"),
        _ => throw new ApiServerStartException($"authorization-mode \"{spec.Type}\" is not a valid mode"),
    };
}
