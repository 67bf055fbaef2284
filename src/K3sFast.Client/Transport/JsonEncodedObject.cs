using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace K3sFast.Client;

/// <summary>An <see cref="EncodedObject"/> over bytes that came off the wire; shares its decoded form per type asked for last.</summary>
public sealed class JsonEncodedObject(ReadOnlyMemory<byte> json) : EncodedObject
{
    private object? _decoded;

    /// <inheritdoc/>
    public override T Decode<T>(JsonTypeInfo<T> type)
    {
        if (_decoded is T decoded) return decoded;
        decoded = JsonSerializer.Deserialize(json.Span, type) ?? throw new JsonException("the object is null");
        _decoded = decoded;
        return decoded;
    }
}
