using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using k8s.Models;

namespace K3sFast.Client;

/// <summary>
/// JSON of the typed models and of our own shapes beside them. metadata.managedFields is neither read
/// nor written: it is often the larger half of an object, no component looks at it, and a write without it leaves the server's as it is.
/// </summary>
public static class ModelJson
{
    /// <summary>Options for every model: camelCase names, nulls left out, Kubernetes' time and quantity forms.</summary>
    public static JsonSerializerOptions Options { get; } = CreateOptions();

    /// <summary>Metadata of one model type.</summary>
    /// <exception cref="NotSupportedException">The type is not in <see cref="ModelJsonContext"/>.</exception>
    public static JsonTypeInfo<T> TypeInfo<T>() => (JsonTypeInfo<T>)Options.GetTypeInfo(typeof(T));

    /// <summary>The model as UTF-8 JSON.</summary>
    public static byte[] Serialize<T>(T value) => JsonSerializer.SerializeToUtf8Bytes(value, TypeInfo<T>());

    /// <summary>A deep copy, by way of JSON: objects that come from an informer are shared and must not be changed in place.</summary>
    public static T Clone<T>(T value) where T : class => JsonSerializer.Deserialize(Serialize(value), TypeInfo<T>())!;

    private static JsonSerializerOptions CreateOptions()
    {
        var options = new JsonSerializerOptions(ModelJsonContext.Default.Options)
        {
            TypeInfoResolver = ((IJsonTypeInfoResolver)ModelJsonContext.Default).WithAddedModifier(LeaveOutOwners),
        };
        options.MakeReadOnly();
        return options;
    }

    private static void LeaveOutOwners(JsonTypeInfo info)
    {
        if (info.Type != typeof(V1ObjectMeta))
            return;
        for (var i = info.Properties.Count - 1; i >= 0; i--)
        {
            if (info.Properties[i].Name == "managedFields")
                info.Properties.RemoveAt(i);
        }
    }
}
