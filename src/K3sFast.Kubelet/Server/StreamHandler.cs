using K3sFast.Kubelet.Pods;

namespace K3sFast.Kubelet.Server;

/// <summary>exec, attach, port-forward: not there yet, and says so.</summary>
internal sealed class StreamHandler(PodManager pods, PodServices services)
{
    public Task ExecAsync(KubeletRequest request, string ns, string pod, string? uid, string container) => RefuseAsync(request, ns, pod, uid, container);

    public Task AttachAsync(KubeletRequest request, string ns, string pod, string? uid, string container) => RefuseAsync(request, ns, pod, uid, container);

    public Task PortForwardAsync(KubeletRequest request, string ns, string pod, string? uid) => RefuseAsync(request, ns, pod, uid, "");

    public Task RunAsync(KubeletRequest request, string ns, string pod, string container) => RefuseAsync(request, ns, pod, null, container);

    private Task RefuseAsync(KubeletRequest request, string ns, string pod, string? uid, string container)
    {
        _ = (pods, services, ns, pod, uid, container);
        return request.AnswerAsync(501, "streaming is not implemented by this node yet");
    }
}
