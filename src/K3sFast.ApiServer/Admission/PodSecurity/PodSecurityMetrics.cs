using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>The figures of pod security, under upstream's names.</summary>
/// <remarks>Any thread. Labels come from small fixed sets: no client can make series without bound.</remarks>
internal sealed class PodSecurityMetrics
{
    // Policies of releases after this one are counted as one.
    private const int OwnMinor = 36;

    private readonly MetricFamily<Counter> _evaluations, _exemptions, _errors;

    internal PodSecurityMetrics(MetricRegistry registry)
    {
        _errors = registry.Counters(
            "pod_security_errors_total",
            "[ALPHA] Number of errors preventing normal evaluation. Non-fatal errors may result in the latest restricted profile being used for evaluation.",
            "fatal", "request_operation", "resource", "subresource");
        _evaluations = registry.Counters(
            "pod_security_evaluations_total", "[ALPHA] Number of policy evaluations that occurred, not counting ignored or exempt requests.",
            "decision", "mode", "policy_level", "policy_version", "request_operation", "resource", "subresource");
        _exemptions = registry.Counters(
            "pod_security_exemptions_total", "[ALPHA] Number of exempt requests, not counting ignored or out of scope requests.", "request_operation", "resource", "subresource");
    }

    internal void Evaluated(string decision, PodSecurityStandard standard, string mode, AdmissionContext context)
    {
        var version = standard.Level == PodSecurityLevel.Privileged ? "latest"
            : standard.Minor is not PodSecurityStandard.Latest and > OwnMinor ? "future" : standard.VersionText;
        _evaluations.With(decision, mode, standard.LevelText, version, Operation(context), Resource(context), context.Subresource).Add();
    }

    internal void Exempted(AdmissionContext context) => _exemptions.With(Operation(context), Resource(context), context.Subresource).Add();

    internal void Failed(AdmissionContext context, bool isFatal) => _errors.With(isFatal ? "true" : "false", Operation(context), Resource(context), context.Subresource).Add();

    private static string Operation(AdmissionContext context) => context.Operation == AdmissionOperation.Create ? "create" : "update";

    private static string Resource(AdmissionContext context) => context.Is("", "pods") ? "pod" : context.Is("", "namespaces") ? "namespace" : "controller";
}
