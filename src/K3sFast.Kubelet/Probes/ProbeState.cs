using k8s.Models;

namespace K3sFast.Kubelet.Probes;

/// <summary>What a probe checks.</summary>
internal enum ProbeType
{
    Startup,
    Liveness,
    Readiness,
}

/// <summary>What is known from a probe.</summary>
internal enum ProbeResult
{
    Unknown,
    Success,
    Failure,
}

/// <summary>
/// The thresholds of one probe of one container: single outcomes in, the settled result out. A liveness probe begins as success, a readiness probe
/// as failure, a startup probe as unknown. One thread.
/// </summary>
internal sealed class ProbeState(ProbeType type, V1Probe probe)
{
    // Defaulting's values, for probes that come without it.
    private readonly int _successThreshold = Math.Max(probe.SuccessThreshold ?? 1, 1);
    private readonly int _failureThreshold = Math.Max(probe.FailureThreshold ?? 3, 1);
    private ProbeResult _last = ProbeResult.Unknown;
    private int _run;

    /// <summary>The settled result.</summary>
    public ProbeResult Result { get; private set; } = Initial(type);

    /// <summary>True when the container must be restarted: probing stops, the next container begins afresh.</summary>
    public bool IsOnHold => type != ProbeType.Readiness && Result == ProbeResult.Failure;

    /// <summary>Takes one outcome; true = the settled result has changed.</summary>
    public bool Add(bool isSuccess)
    {
        var outcome = isSuccess ? ProbeResult.Success : ProbeResult.Failure;
        _run = outcome == _last ? _run + 1 : 1;
        _last = outcome;
        if (_run < (isSuccess ? _successThreshold : _failureThreshold) || Result == outcome) return false;
        Result = outcome;
        return true;
    }

    private static ProbeResult Initial(ProbeType type) => type switch
    {
        ProbeType.Liveness => ProbeResult.Success,
        ProbeType.Readiness => ProbeResult.Failure,
        _ => ProbeResult.Unknown,
    };
}
