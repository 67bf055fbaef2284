using System.Diagnostics;
using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>What admission policies decided, by policy and binding, under upstream's names.</summary>
internal sealed class PolicyMetrics
{
    // Upstream's bounds.
    private static readonly double[] s_seconds = [0.0000005, 0.001, 0.01, 0.1, 1];

    private readonly MetricFamily<Counter> _validations, _mutations;
    private readonly MetricFamily<Histogram> _validationSeconds, _mutationSeconds;

    internal PolicyMetrics(MetricRegistry registry)
    {
        _validations = registry.Counters(
            "apiserver_validating_admission_policy_check_total",
            "[BETA] Validation admission policy check total, labeled by policy and further identified by binding and enforcement action taken.",
            "policy", "policy_binding", "error_type", "enforcement_action");
        _validationSeconds = registry.Histograms(
            "apiserver_validating_admission_policy_check_duration_seconds",
            "[BETA] Validation admission latency for individual validation expressions in seconds, labeled by policy and further including binding and enforcement action taken.",
            s_seconds, "policy", "policy_binding", "error_type", "enforcement_action");
        _mutations = registry.Counters(
            "apiserver_mutating_admission_policy_check_total", "[ALPHA] Mutation admission policy check total, labeled by policy and further identified by binding.",
            "policy", "policy_binding", "error_type");
        _mutationSeconds = registry.Histograms(
            "apiserver_mutating_admission_policy_check_duration_seconds",
            "[ALPHA] Mutation admission latency for individual mutation expressions in seconds, labeled by policy and binding.", s_seconds, "policy", "policy_binding", "error_type");
    }

    /// <summary>A validation was followed up by that action; words tell why.</summary>
    internal void Validated(string policy, string binding, string words, string action, TimeSpan elapsed)
    {
        var error = ErrorOf(words);
        _validations.With(policy, binding, error, action).Add();
        _validationSeconds.With(policy, binding, error, action).Observe(elapsed.TotalSeconds);
    }

    /// <summary>A policy changed the object, or could not; words tell why.</summary>
    internal void Mutated(string policy, string binding, string? words, long started)
    {
        var error = words is null ? "no_error" : ErrorOf(words);
        _mutations.With(policy, binding, error).Add();
        _mutationSeconds.With(policy, binding, error).Observe(Stopwatch.GetElapsedTime(started).TotalSeconds);
    }

    // Upstream tells them apart by their words too.
    private static string ErrorOf(string words) =>
        words.StartsWith("compilation", StringComparison.Ordinal) ? "compile_error"
        : words.StartsWith("validation failed due to running out of cost budget", StringComparison.Ordinal) ? "out_of_budget" : "invalid_error";
}
