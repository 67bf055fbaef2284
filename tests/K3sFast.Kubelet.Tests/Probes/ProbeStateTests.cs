using K3sFast.Kubelet.Probes;
using k8s.Models;

namespace K3sFast.Kubelet.Tests.Probes;

public sealed class ProbeStateTests
{
    [Fact]
    public void Liveness_FailsBelowThreshold_StaysSuccess()
    {
        var state = new ProbeState(ProbeType.Liveness, new V1Probe { FailureThreshold = 3 });
        Assert.False(state.Add(false));
        Assert.False(state.Add(false));
        Assert.False(state.Add(true));
        Assert.False(state.Add(false));
        Assert.False(state.Add(false));
        Assert.Equal(ProbeResult.Success, state.Result);
        Assert.True(state.Add(false));
        Assert.True(state.IsOnHold);
    }

    [Fact]
    public void Readiness_SuccessThreshold_IsCountedInARow()
    {
        var state = new ProbeState(ProbeType.Readiness, new V1Probe { SuccessThreshold = 2, FailureThreshold = 1 });
        Assert.Equal(ProbeResult.Failure, state.Result);
        Assert.False(state.Add(true));
        Assert.False(state.Add(false));
        Assert.False(state.Add(true));
        Assert.True(state.Add(true));
        Assert.Equal(ProbeResult.Success, state.Result);
        Assert.True(state.Add(false));
        Assert.False(state.IsOnHold);
    }

    [Fact]
    public void Startup_BeginsUnknown_FailureHolds()
    {
        var state = new ProbeState(ProbeType.Startup, new V1Probe { FailureThreshold = 1 });
        Assert.Equal(ProbeResult.Unknown, state.Result);
        Assert.True(state.Add(false));
        Assert.True(state.IsOnHold);
    }
}
