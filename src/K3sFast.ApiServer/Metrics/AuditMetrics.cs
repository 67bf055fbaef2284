using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>What the audit log does, under upstream's names.</summary>
/// <remarks>Any thread.</remarks>
internal sealed class AuditMetrics
{
    private readonly MetricFamily<Counter> _errors, _levels;

    internal AuditMetrics(MetricRegistry registry)
    {
        Events = registry.Counter("apiserver_audit_event_total", "[ALPHA] Counter of audit events generated and sent to the audit backend.");
        Rejected = registry.Counter("apiserver_audit_requests_rejected_total", "[ALPHA] Counter of apiserver requests rejected due to an error in audit logging backend.");
        _errors = registry.Counters(
            "apiserver_audit_error_total", "[ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.", "plugin");
        _levels = registry.Counters("apiserver_audit_level_total", "[ALPHA] Counter of policy levels for audit events (1 per request).", "level");
    }

    /// <summary>Events on their way to the back ends, one for each stage.</summary>
    internal Counter Events { get; }

    /// <summary>Requests that were not served because a strict back end did not take them.</summary>
    internal Counter Rejected { get; }

    /// <summary>Notes the level that the policy gave a request.</summary>
    internal void Judged(AuditLevel level) => _levels.With(level.ToString()).Add();

    /// <summary>Notes events that were lost on the way.</summary>
    internal void Lost(string plugin, int events) => _errors.With(plugin).Add(events);
}
