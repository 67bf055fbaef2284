using System.Text.Json;
using System.Text.Json.Serialization;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Reads a <see cref="GraphObject"/>: a start reads every object of the cluster, of which the graph wants some members of its metadata, so nothing else is
/// looked at longer than it takes to pass it.
/// </summary>
internal sealed class GraphObjectReader : JsonConverter<GraphObject>
{
    public override GraphObject Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        var value = new GraphObject();
        Enter(ref reader);
        while (NextMember(ref reader))
        {
            var isMetadata = reader.ValueTextEquals("metadata"u8);
            reader.Read();
            if (isMetadata && reader.TokenType != JsonTokenType.Null) ReadMetadata(ref reader, value.Metadata);
            else reader.Skip();
        }
        return value;
    }

    public override void Write(Utf8JsonWriter writer, GraphObject value, JsonSerializerOptions options) => throw new NotSupportedException("the graph's view of an object is never written");

    private static void ReadMetadata(ref Utf8JsonReader reader, GraphMetadata metadata)
    {
        Enter(ref reader);
        while (NextMember(ref reader))
        {
            switch (reader.ValueSpan)
            {
                case var name when name.SequenceEqual("name"u8):
                    metadata.Name = Text(ref reader) ?? "";
                    break;
                case var name when name.SequenceEqual("namespace"u8):
                    metadata.Namespace = Text(ref reader) ?? "";
                    break;
                case var name when name.SequenceEqual("uid"u8):
                    metadata.Uid = Text(ref reader) ?? "";
                    break;
                case var name when name.SequenceEqual("resourceVersion"u8):
                    metadata.ResourceVersion = Text(ref reader) ?? "";
                    break;
                case var name when name.SequenceEqual("deletionTimestamp"u8):
                    metadata.DeletionTimestamp = Text(ref reader);
                    break;
                case var name when name.SequenceEqual("finalizers"u8):
                    metadata.Finalizers = Finalizers(ref reader);
                    break;
                case var name when name.SequenceEqual("ownerReferences"u8):
                    metadata.OwnerReferences = Owners(ref reader);
                    break;
                default:
                    reader.Read();
                    reader.Skip();
                    break;
            }
        }
    }

    private static List<string>? Finalizers(ref Utf8JsonReader reader)
    {
        if (!EnterArray(ref reader)) return null;
        var finalizers = new List<string>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray) finalizers.Add(reader.GetString() ?? "");
        return finalizers;
    }

    private static List<V1OwnerReference>? Owners(ref Utf8JsonReader reader)
    {
        if (!EnterArray(ref reader)) return null;
        var owners = new List<V1OwnerReference>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            var owner = new V1OwnerReference();
            Enter(ref reader);
            while (NextMember(ref reader))
            {
                switch (reader.ValueSpan)
                {
                    case var name when name.SequenceEqual("apiVersion"u8):
                        owner.ApiVersion = Text(ref reader);
                        break;
                    case var name when name.SequenceEqual("kind"u8):
                        owner.Kind = Text(ref reader);
                        break;
                    case var name when name.SequenceEqual("name"u8):
                        owner.Name = Text(ref reader);
                        break;
                    case var name when name.SequenceEqual("uid"u8):
                        owner.Uid = Text(ref reader);
                        break;
                    case var name when name.SequenceEqual("controller"u8):
                        owner.Controller = Flag(ref reader);
                        break;
                    case var name when name.SequenceEqual("blockOwnerDeletion"u8):
                        owner.BlockOwnerDeletion = Flag(ref reader);
                        break;
                    default:
                        reader.Read();
                        reader.Skip();
                        break;
                }
            }
            owners.Add(owner);
        }
        return owners;
    }

    private static void Enter(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw new JsonException("not an object where one must be");
    }

    private static bool NextMember(ref Utf8JsonReader reader) => reader.Read() && reader.TokenType == JsonTokenType.PropertyName;

    // False for null, which stands for an absent list.
    private static bool EnterArray(ref Utf8JsonReader reader)
    {
        reader.Read();
        if (reader.TokenType == JsonTokenType.Null) return false;
        return reader.TokenType == JsonTokenType.StartArray ? true : throw new JsonException("not a list where one must be");
    }

    private static string? Text(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType is JsonTokenType.String or JsonTokenType.Null ? reader.GetString() : throw new JsonException("not a text where one must be");
    }

    private static bool? Flag(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.TokenType switch
        {
            JsonTokenType.True => true,
            JsonTokenType.False => false,
            JsonTokenType.Null => null,
            _ => throw new JsonException("neither true nor false where one must be"),
        };
    }
}
