using System.Text.Json.Serialization;
using k8s;
using k8s.Models;

namespace K3sFast.Client;

/// <summary>Any object, of which only identity and metadata are looked at: what the garbage collector and namespace deletion need.</summary>
public sealed class PartialObject : IKubernetesObject<V1ObjectMeta>
{
    /// <inheritdoc/>
    [JsonPropertyName("apiVersion")]
    public string ApiVersion { get; set; } = "";

    /// <inheritdoc/>
    [JsonPropertyName("kind")]
    public string Kind { get; set; } = "";

    /// <inheritdoc/>
    [JsonPropertyName("metadata")]
    public V1ObjectMeta Metadata { get; set; } = new();
}
