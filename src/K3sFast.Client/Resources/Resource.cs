using System.Text.Json.Serialization.Metadata;
using k8s;
using k8s.Models;

namespace K3sFast.Client;

/// <summary>
/// A resource as the client addresses it: group, version, plural name, kind, scope, and how its objects are decoded. Immutable; one instance
/// per resource, so that informers can be shared by it.
/// </summary>
public sealed class Resource<T> where T : class, IKubernetesObject<V1ObjectMeta>
{
    private JsonTypeInfo<T>? _type;

    /// <summary>A resource of <paramref name="group"/> ("" = core).</summary>
    public Resource(string group, string version, string plural, string kind, bool isNamespaced)
    {
        (Group, Version, Plural, Kind, IsNamespaced) = (group, version, plural, kind, isNamespaced);
    }

    /// <summary>API group, "" for core.</summary>
    public string Group { get; }

    /// <summary>API version, such as v1.</summary>
    public string Version { get; }

    /// <summary>Plural name in paths, such as pods.</summary>
    public string Plural { get; }

    /// <summary>Kind, such as Pod.</summary>
    public string Kind { get; }

    /// <summary>True where objects live in a namespace.</summary>
    public bool IsNamespaced { get; }

    /// <summary>apiVersion as objects carry it.</summary>
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    /// <summary>JSON metadata of the model; resolved at first use.</summary>
    public JsonTypeInfo<T> Type => _type ??= ModelJson.TypeInfo<T>();

    /// <summary>
    /// Path of the collection (<paramref name="name"/> null) or of one object and its subresource. A namespaced resource without
    /// <paramref name="namespaceName"/> addresses all namespaces.
    /// </summary>
    public string Path(string? namespaceName, string? name = null, string? subresource = null)
    {
        var root = Group.Length == 0 ? $"/api/{Version}" : $"/apis/{Group}/{Version}";
        var scope = IsNamespaced && !string.IsNullOrEmpty(namespaceName) ? $"/namespaces/{Uri.EscapeDataString(namespaceName)}" : "";
        var item = name is null ? "" : "/" + Uri.EscapeDataString(name);
        return $"{root}{scope}/{Plural}{item}{(subresource is null ? "" : "/" + subresource)}";
    }

    /// <inheritdoc/>
    public override string ToString() => Group.Length == 0 ? Plural : $"{Plural}.{Group}";
}
