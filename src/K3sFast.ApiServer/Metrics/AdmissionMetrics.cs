using System.Diagnostics;
using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>How long admission plugins take, each and all together.</summary>
/// <remarks>Any thread. The instruments of a plugin are made once; noting allocates nothing.</remarks>
internal sealed class AdmissionMetrics
{
    // Upstream's bounds.
    private static readonly double[] s_bounds = [0.005, 0.025, 0.1, 0.5, 1, 2.5];
    private static readonly string[] s_operations = ["CREATE", "UPDATE", "DELETE", "CONNECT"];

    private readonly MetricFamily<Histogram> _plugins, _steps;
    private readonly Histogram?[] _stepSeries = new Histogram?[16];

    internal AdmissionMetrics(MetricRegistry registry)
    {
        _plugins = registry.Histograms(
            "apiserver_admission_controller_admission_duration_seconds",
            "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).",
            s_bounds, "name", "type", "operation", "rejected");
        _steps = registry.Histograms(
            "apiserver_admission_step_admission_duration_seconds",
            "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).",
            s_bounds, "type", "operation", "rejected");
    }

    internal void Step(AdmissionOperation operation, bool isMutating, bool isRejected, long started) =>
        (_stepSeries[Index(operation, isMutating, isRejected)] ??= _steps.With(TypeOf(isMutating), s_operations[(int)operation], Word(isRejected)))
            .Observe(Stopwatch.GetElapsedTime(started).TotalSeconds);

    internal PluginSeries Plugin(string name) => new(this, name);

    private static int Index(AdmissionOperation operation, bool isMutating, bool isRejected) => (int)operation * 4 + (isMutating ? 2 : 0) + (isRejected ? 1 : 0);

    private static string TypeOf(bool isMutating) => isMutating ? "admit" : "validate";

    private static string Word(bool value) => value ? "true" : "false";

    /// <summary>The instruments of one plugin.</summary>
    internal sealed class PluginSeries(AdmissionMetrics owner, string name)
    {
        private readonly Histogram?[] _series = new Histogram?[16];

        internal void Observe(AdmissionOperation operation, bool isMutating, bool isRejected, long started) =>
            (_series[Index(operation, isMutating, isRejected)] ??= owner._plugins.With(name, TypeOf(isMutating), s_operations[(int)operation], Word(isRejected)))
                .Observe(Stopwatch.GetElapsedTime(started).TotalSeconds);
    }
}
