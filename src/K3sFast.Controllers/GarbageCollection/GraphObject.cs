using System.Text.Json.Serialization;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>An object as the ownership graph needs it: identity, owners, finalizers. Everything else is skipped when it is decoded.</summary>
internal sealed class GraphObject
{
    [JsonPropertyName("metadata")]
    public GraphMetadata Metadata { get; set; } = new();

    internal static GraphObject Of(IKubernetesObject<V1ObjectMeta> value) => new()
    {
        Metadata = new GraphMetadata
        {
            Name = value.Metadata.Name,
            Namespace = value.Metadata.NamespaceProperty ?? "",
            Uid = value.Metadata.Uid,
            ResourceVersion = value.Metadata.ResourceVersion,
            DeletionTimestamp = value.Metadata.DeletionTimestamp is null ? null : "set",
            Finalizers = value.Metadata.Finalizers,
            OwnerReferences = value.Metadata.OwnerReferences,
        },
    };
}

/// <summary>The part of metadata that ownership rests on.</summary>
internal sealed class GraphMetadata
{
    internal const string ForegroundFinalizer = "foregroundDeletion";
    internal const string OrphanFinalizer = "orphan";

    [JsonPropertyName("name")]
    public string Name { get; set; } = "";

    [JsonPropertyName("namespace")]
    public string Namespace { get; set; } = "";

    [JsonPropertyName("uid")]
    public string Uid { get; set; } = "";

    [JsonPropertyName("resourceVersion")]
    public string ResourceVersion { get; set; } = "";

    /// <summary>Only whether it is there counts.</summary>
    [JsonPropertyName("deletionTimestamp")]
    public string? DeletionTimestamp { get; set; }

    [JsonPropertyName("finalizers")]
    public IList<string>? Finalizers { get; set; }

    [JsonPropertyName("ownerReferences")]
    public IList<V1OwnerReference>? OwnerReferences { get; set; }

    [JsonIgnore]
    internal bool IsBeingDeleted => DeletionTimestamp is not null;

    [JsonIgnore]
    internal bool DeletesDependents => IsBeingDeleted && Finalizers?.Contains(ForegroundFinalizer) == true;

    [JsonIgnore]
    internal bool OrphansDependents => IsBeingDeleted && Finalizers?.Contains(OrphanFinalizer) == true;
}

/// <summary>JSON of the shapes above.</summary>
[JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(GraphObject))]
internal sealed partial class GraphJsonContext : JsonSerializerContext;
