using System.Text.Json.Serialization;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>An object as the ownership graph needs it: identity, owners, finalizers. Everything else is skipped when it is decoded.</summary>
[JsonConverter(typeof(GraphObjectReader))]
internal sealed class GraphObject
{
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

    public string Name { get; set; } = "";

    public string Namespace { get; set; } = "";

    public string Uid { get; set; } = "";

    public string ResourceVersion { get; set; } = "";

    /// <summary>Only whether it is there counts.</summary>
    public string? DeletionTimestamp { get; set; }

    public IList<string>? Finalizers { get; set; }

    public IList<V1OwnerReference>? OwnerReferences { get; set; }

    internal bool IsBeingDeleted => DeletionTimestamp is not null;

    internal bool DeletesDependents => IsBeingDeleted && Finalizers?.Contains(ForegroundFinalizer) == true;

    internal bool OrphansDependents => IsBeingDeleted && Finalizers?.Contains(OrphanFinalizer) == true;
}

/// <summary>JSON of the shape above, which is only read.</summary>
[JsonSerializable(typeof(GraphObject))]
internal sealed partial class GraphJsonContext : JsonSerializerContext;
