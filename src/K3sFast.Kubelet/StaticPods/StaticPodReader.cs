using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;
using K3sFast.Client;
using K3sFast.Kubelet.Cri;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.StaticPods;

/// <summary>Pods from manifest files of this node: read, defaulted and given name, UID and marks as upstream does.</summary>
internal sealed class StaticPodReader(KubeletOptions options, TimeProvider time, ILogger logger)
{
    private readonly Dictionary<string, string> _refused = [];

    /// <summary>All pods of the folder. A file that cannot be read or is no pod is left out, with one log line per content.</summary>
    public IReadOnlyList<V1Pod> Read()
    {
        var pods = new List<V1Pod>();
        if (!Directory.Exists(options.ManifestDir)) return pods;
        foreach (var path in Directory.EnumerateFiles(options.ManifestDir).Order(StringComparer.Ordinal))
        {
            // As upstream: hidden files are not manifests (editors leave such).
            if (Path.GetFileName(path).StartsWith('.')) continue;
            try
            {
                pods.Add(Parse(File.ReadAllBytes(path), path));
                _refused.Remove(path);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException or JsonException or ApiStatusException)
            {
                if (_refused.TryGetValue(path, out var known) && known == e.Message) continue;
                _refused[path] = e.Message;
                Log.ManifestRefused(logger, path, e.Message);
            }
        }
        return pods;
    }

    internal V1Pod Parse(byte[] content, string path)
    {
        var schema = Schema.BuiltIn.FindResource(""u8, "v1"u8, "pods"u8) ?? throw new InvalidDataException("the schema has no pods");
        using var document = Decode(content, schema);
        if (!document.Root["kind"u8].Equals("Pod"u8)) throw new InvalidDataException($"kind is {document.Root["kind"u8].AsString()}, not Pod");
        Defaulting.Apply(document.Root, schema);
        var json = new ArrayBufferWriter<byte>();
        document.Root.WriteJson(json);
        var pod = JsonSerializer.Deserialize(json.WrittenSpan, ModelJson.TypeInfo<V1Pod>()) ?? throw new InvalidDataException("empty manifest");
        if (string.IsNullOrEmpty(pod.Metadata?.Name) || pod.Spec?.Containers is not { Count: > 0 }) throw new InvalidDataException("a pod needs a name and containers");

        // The UID follows from node, file and content: a changed manifest is another pod.
        var hash = Convert.ToHexStringLower(SHA256.HashData([.. Encoding.UTF8.GetBytes($"host:{options.NodeName}\nfile:{path}\n"), .. content]).AsSpan(0, 16));
        var metadata = pod.Metadata;
        if (string.IsNullOrEmpty(metadata.Uid)) metadata.Uid = hash;
        metadata.Name = $"{metadata.Name}-{options.NodeName.ToLowerInvariant()}";
        if (string.IsNullOrEmpty(metadata.NamespaceProperty)) metadata.NamespaceProperty = "default";
        metadata.CreationTimestamp = null;
        metadata.Annotations = metadata.Annotations is { } annotations ? new Dictionary<string, string>(annotations) : [];
        metadata.Annotations[CriLabels.ConfigSource] = "file";
        metadata.Annotations[CriLabels.ConfigHash] = metadata.Uid;
        metadata.Annotations[CriLabels.ConfigSeen] = time.GetUtcNow().UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fffffffZ", System.Globalization.CultureInfo.InvariantCulture);
        pod.Spec.NodeName = options.NodeName;
        pod.Spec.Tolerations = [.. pod.Spec.Tolerations ?? [], new V1Toleration { OperatorProperty = "Exists", Effect = "NoExecute" }];
        pod.Status = new V1PodStatus { Phase = "Pending" };
        return pod;
    }

    private static ApiObject Decode(byte[] content, ResourceInfo schema)
    {
        var text = content.AsSpan().TrimStart(" \t\r\n"u8);
        if (!text.IsEmpty && text[0] == (byte)'{') return JsonCodec.Decode(text, schema.Type, DecodeOptions.Default, null);
        ApiObject? first = null;
        foreach (var document in YamlCodec.DecodeAll(content))
        {
            if (first is null) first = document;
            else document.Dispose();
        }
        return first ?? throw new InvalidDataException("empty manifest");
    }
}
