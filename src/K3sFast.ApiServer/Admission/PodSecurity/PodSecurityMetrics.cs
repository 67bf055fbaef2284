using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace K3sFast.ApiServer;

/// <summary>The figures of pod security, under upstream's names.</summary>
/// <remarks>Any thread. Labels come from small fixed sets: no client can make series without bound.</remarks>
internal sealed class PodSecurityMetrics
{
    // Policies of releases after this one are counted as one.
    private const int OwnMinor = 36;

    private readonly ConcurrentDictionary<(string Name, string Labels), StrongBox<long>> _counters = new();

    internal void Evaluated(string decision, PodSecurityStandard standard, string mode, AdmissionContext context)
    {
        var version = standard.Level == PodSecurityLevel.Privileged ? "latest"
            : standard.Minor is not PodSecurityStandard.Latest and > OwnMinor ? "future" : standard.VersionText;
        Count(
            "pod_security_evaluations_total",
            $"decision=\"{decision}\",mode=\"{mode}\",policy_level=\"{standard.LevelText}\",policy_version=\"{version}\",{Request(context)}");
    }

    internal void Exempted(AdmissionContext context) => Count("pod_security_exemptions_total", Request(context));

    internal void Failed(AdmissionContext context, bool isFatal) =>
        Count("pod_security_errors_total", $"fatal=\"{(isFatal ? "true" : "false")}\",{Request(context)}");

    /// <summary>Appends the counters in Prometheus' text form.</summary>
    internal void Write(StringBuilder text)
    {
        Write(text, "pod_security_errors_total", "Number of errors preventing normal evaluation. Non-fatal errors may result in the latest restricted profile being used for evaluation.");
        Write(text, "pod_security_evaluations_total", "Number of policy evaluations that occurred, not counting ignored or exempt requests.");
        Write(text, "pod_security_exemptions_total", "Number of exempt requests, not counting ignored or out of scope requests.");
    }

    private void Write(StringBuilder text, string name, string help)
    {
        var isFirst = true;
        foreach (var (key, count) in _counters)
        {
            if (key.Name != name)
                continue;
            if (isFirst)
                text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} counter\n");
            isFirst = false;
            text.Append(CultureInfo.InvariantCulture, $"{name}{{{key.Labels}}} {Volatile.Read(ref count.Value)}\n");
        }
    }

    private void Count(string name, string labels) => Interlocked.Increment(ref _counters.GetOrAdd((name, labels), static _ => new StrongBox<long>()).Value);

    private static string Request(AdmissionContext context)
    {
        var resource = context.Is("", "pods") ? "pod" : context.Is("", "namespaces") ? "namespace" : "controller";
        var operation = context.Operation == AdmissionOperation.Create ? "create" : "update";
        return $"request_operation=\"{operation}\",resource=\"{resource}\",subresource=\"{context.Subresource}\"";
    }
}
