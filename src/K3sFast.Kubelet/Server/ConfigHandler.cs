using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;
using K3sFast.Kubelet.Containers;
using K3sFast.Kubelet.Node;

namespace K3sFast.Kubelet.Server;

/// <summary>GET /configz: the settings that this kubelet runs with, under the names of KubeletConfiguration. What it does not know, it does not tell.</summary>
internal sealed class ConfigHandler(KubeletOptions options)
{
    public Task HandleAsync(KubeletRequest request)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject("kubeletconfig"u8);
            Write(json);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return request.AnswerAsync(200, Encoding.UTF8.GetString(buffer.WrittenSpan), "application/json");
    }

    private void Write(Utf8JsonWriter json)
    {
        json.WriteString("kind"u8, "KubeletConfiguration"u8);
        json.WriteString("apiVersion"u8, "kubelet.config.k8s.io/v1beta1"u8);
        if (options.ManifestDir.Length > 0) json.WriteString("staticPodPath"u8, options.ManifestDir);
        json.WriteString("address"u8, options.BindAddress.ToString());
        json.WriteNumber("port"u8, options.Port);
        json.WriteNumber("healthzPort"u8, options.HealthzPort);
        json.WriteString("healthzBindAddress"u8, "127.0.0.1"u8);
        json.WriteStartObject("authentication"u8);
        json.WriteStartObject("webhook"u8);
        json.WriteBoolean("enabled"u8, true);
        json.WriteString("cacheTTL"u8, GoDuration.Format(KubeletAuth.TokenLife));
        json.WriteEndObject();
        json.WriteStartObject("anonymous"u8);
        json.WriteBoolean("enabled"u8, false);
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteStartObject("authorization"u8);
        json.WriteString("mode"u8, "Webhook"u8);
        json.WriteStartObject("webhook"u8);
        json.WriteString("cacheAuthorizedTTL"u8, GoDuration.Format(KubeletAuth.AllowedLife));
        json.WriteString("cacheUnauthorizedTTL"u8, GoDuration.Format(KubeletAuth.RefusedLife));
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteString("clusterDomain"u8, options.ClusterDomain);
        json.WriteStartArray("clusterDNS"u8);
        foreach (var server in options.ClusterDns) json.WriteStringValue(server.ToString());
        json.WriteEndArray();
        json.WriteString("nodeStatusUpdateFrequency"u8, GoDuration.Format(options.NodeStatusUpdateInterval));
        json.WriteString("nodeStatusReportFrequency"u8, GoDuration.Format(options.NodeStatusReportInterval));
        json.WriteNumber("nodeLeaseDurationSeconds"u8, NodeAgent.LeaseSeconds);
        json.WriteString("imageMinimumGCAge"u8, GoDuration.Format(ImageCollector.MinAge));
        json.WriteNumber("imageGCHighThresholdPercent"u8, ImageCollector.HighPercent);
        json.WriteNumber("imageGCLowThresholdPercent"u8, ImageCollector.LowPercent);
        json.WriteString("cgroupRoot"u8, options.CgroupRoot);
        json.WriteNumber("maxPods"u8, options.MaxPods);
        json.WriteNumber("podPidsLimit"u8, options.PodPidsLimit > 0 ? options.PodPidsLimit : -1);
        json.WriteString("resolvConf"u8, options.ResolvConf);
        json.WriteString("containerLogMaxSize"u8, options.ContainerLogMaxBytes.ToString(CultureInfo.InvariantCulture));
        json.WriteNumber("containerLogMaxFiles"u8, options.ContainerLogMaxFiles);
        json.WriteStartObject("crashLoopBackOff"u8);
        json.WriteString("maxContainerRestartPeriod"u8, GoDuration.Format(options.MaxContainerBackOff));
        json.WriteEndObject();
        json.WriteString("podLogsDir"u8, options.PodLogsDir);
        json.WriteString("containerRuntimeEndpoint"u8, "unix://" + options.ContainerdSocket);
        json.WriteStartArray("allowedUnsafeSysctls"u8);
        foreach (var pattern in options.AllowedUnsafeSysctls) json.WriteStringValue(pattern);
        json.WriteEndArray();
        json.WriteBoolean("enableServer"u8, true);
        json.WriteBoolean("enableSystemLogHandler"u8, true);
    }
}
