using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>The audit log: asks the policy about each request and sends its stages to the back ends.</summary>
/// <remarks>Any thread.</remarks>
internal sealed class AuditLog : IAsyncDisposable
{
    private readonly AuditPolicy _policy;
    private readonly List<AuditBackend> _backends = [];
    private readonly AuditMetrics _metrics;
    private readonly TimeProvider _clock;

    private AuditLog(AuditPolicy policy, AuditMetrics metrics, TimeProvider clock) => (_policy, _metrics, _clock) = (policy, metrics, clock);

    /// <summary>Null when nothing is to be audited.</summary>
    /// <exception cref="ApiServerStartException">Policy, log file or webhook cannot be used.</exception>
    internal static AuditLog? Create(AuditOptions options, AuditMetrics metrics, TimeProvider clock, ILogger logger)
    {
        if (options.PolicyFile.Length == 0)
        {
            if (options.LogPath.Length > 0 || options.WebhookFile.Length > 0)
                Log.AuditWithoutPolicy(logger);
            return null;
        }
        var audit = new AuditLog(AuditPolicy.Load(options.PolicyFile), metrics, clock);
        if (options.LogPath.Length > 0)
            audit._backends.Add(new AuditBackend(options.LogPath, options.Log, new AuditLogFile(options, clock, logger), metrics, clock, logger));
        if (options.WebhookFile.Length > 0)
        {
            var kubeconfig = WebhookKubeconfig.Load("audit-webhook-config-file", options.WebhookFile);
            var backoff = new WebhookBackoff(options.WebhookInitialBackoff, 1.5, 5, RetriesAlways: true);
            var webhook = new AuditWebhook(new WebhookClient(kubeconfig, TimeSpan.FromSeconds(30), backoff), options.WebhookFile, logger);
            audit._backends.Add(new AuditBackend(options.WebhookFile, options.Webhook, webhook, metrics, clock, logger));
        }
        if (audit._backends.Count > 0)
            return audit;
        Log.AuditWithoutBackend(logger);
        return null;
    }

    /// <summary>Begins the request's event, if the policy wants one: its user is known, nothing was done yet.</summary>
    /// <exception cref="ApiStatusException">500 when a strict back end did not take it.</exception>
    internal async ValueTask BeginAsync(ApiCall call, UserInfo? user)
    {
        if (Start(call, user) is not { } e)
            return;
        if (await ProcessAsync(e, AuditStages.RequestReceived).ConfigureAwait(false))
            return;
        _metrics.Rejected.Add();
        throw new PlainTextException(500, $"Internal Server Error: {GoText.Quote(call.TargetText)}: failed to store audit event\n");
    }

    /// <summary>Records a request that nobody may make who has not said who he is.</summary>
    internal async ValueTask NoteUnauthenticatedAsync(ApiCall call)
    {
        if (Start(call, null) is not { } e)
            return;
        e.SetStatus(ApiStatus.Unauthorized());
        e.ResponseCode = 401;
        await ProcessAsync(e, AuditStages.ResponseStarted).ConfigureAwait(false);
        call.Audit = null;
    }

    /// <summary>The answer of a long request begins; nobody waits for this to be written.</summary>
    internal void NoteStarted(AuditEvent e) => _ = ProcessAsync(e, AuditStages.ResponseStarted).AsTask();

    /// <summary>The request is done.</summary>
    internal async ValueTask EndAsync(ApiCall call, Exception? failure)
    {
        if (call.Audit is not { } e)
            return;
        call.Audit = null;
        e.Impersonated = call.Impersonator is null ? null : call.User;
        e.ImpersonationConstraint = call.ImpersonationConstraint;
        if (failure is not null)
        {
            e.SetStatus(new ApiStatus { Code = 500, Reason = "InternalError", Message = $"APIServer panic'd: {failure.Message}" });
            e.ResponseCode = 500;
            await ProcessAsync(e, AuditStages.Panic).ConfigureAwait(false);
            return;
        }
        if (call.AnsweredStatus > 0)
        {
            e.ResponseCode = call.AnsweredStatus;
        }
        else if (e.ResponseCode == 0)
        {
            e.SetStatus(new ApiStatus { Code = 200, IsSuccess = true, Message = "Connection closed early" });
            e.ResponseCode = 200;
            if (e.IsLongRunning)
                await ProcessAsync(e, AuditStages.ResponseStarted).ConfigureAwait(false);
        }
        await ProcessAsync(e, AuditStages.ResponseComplete).ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var backend in _backends)
            await backend.DisposeAsync().ConfigureAwait(false);
    }

    private AuditEvent? Start(ApiCall call, UserInfo? user)
    {
        var verdict = _policy.Judge(AuthorizationAttributes.Of(call.Info, user ?? UserInfo.Nobody));
        _metrics.Judged(verdict.Level);
        if (verdict.Level == AuditLevel.None)
            return null;
        return call.Audit = new AuditEvent(call, user, verdict, call.AuditId, _clock.GetUtcNow()) { Owner = this };
    }

    // False when a strict back end did not take the receipt.
    private async ValueTask<bool> ProcessAsync(AuditEvent e, AuditStages stage)
    {
        if ((e.Verdict.Omitted & stage) != 0)
            return true;
        _metrics.Events.Add();
        var isTaken = true;
        foreach (var backend in _backends)
        {
            if (!await backend.ProcessAsync(e, stage).ConfigureAwait(false) && backend.IsStrict && stage == AuditStages.RequestReceived)
                isTaken = false;
        }
        return isTaken;
    }
}
