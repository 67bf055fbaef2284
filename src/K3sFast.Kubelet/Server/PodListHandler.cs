using System.Buffers;
using System.Text;
using System.Text.Json;
using K3sFast.Client;
using K3sFast.Kubelet.Pods;
using k8s.Models;

namespace K3sFast.Kubelet.Server;

/// <summary>GET /pods (what the node shall run, with its own status) and /runningpods/ (what the runtime has running).</summary>
internal sealed class PodListHandler(PodManager pods)
{
    public Task PodsAsync(KubeletRequest request) => AnswerAsync(request, pods.Workers.Select(worker => worker.PodWithStatus));

    public Task RunningPodsAsync(KubeletRequest request) => AnswerAsync(request, pods.Workers.Where(worker => worker.Runtime.HasRunning).Select(Running));

    private static V1Pod Running(PodWorker worker)
    {
        var pod = worker.Pod;
        var running = worker.Runtime.Containers.Where(record => record.IsRunning);
        return new V1Pod
        {
            Metadata = new V1ObjectMeta { Name = pod.Metadata.Name, NamespaceProperty = pod.Metadata.NamespaceProperty, Uid = pod.Metadata.Uid },
            Spec = new V1PodSpec { Containers = [.. running.Select(record => new V1Container { Name = record.Name, Image = record.Image })] },
        };
    }

    private static async Task AnswerAsync(KubeletRequest request, IEnumerable<V1Pod> items)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("kind"u8, "PodList"u8);
            json.WriteString("apiVersion"u8, "v1"u8);
            json.WriteStartObject("metadata"u8);
            json.WriteEndObject();
            json.WriteStartArray("items"u8);
            foreach (var pod in items) json.WriteRawValue(ModelJson.Serialize(pod), skipInputValidation: true);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        await request.AnswerAsync(200, Encoding.UTF8.GetString(buffer.WrittenSpan), "application/json").ConfigureAwait(false);
    }
}
