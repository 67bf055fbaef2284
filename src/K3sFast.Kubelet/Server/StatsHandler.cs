using K3sFast.Kubelet.Pods;

namespace K3sFast.Kubelet.Server;

/// <summary>Statistics: not there yet, and says so.</summary>
internal sealed class StatsHandler(PodManager pods, PodServices services)
{
    public Task SummaryAsync(KubeletRequest request) => RefuseAsync(request);

    public Task MetricsAsync(KubeletRequest request) => RefuseAsync(request);

    public Task ResourceMetricsAsync(KubeletRequest request) => RefuseAsync(request);

    public Task ContainerMetricsAsync(KubeletRequest request) => RefuseAsync(request);

    private Task RefuseAsync(KubeletRequest request)
    {
        _ = (pods, services);
        return request.AnswerAsync(501, "statistics are not implemented by this node yet");
    }
}
