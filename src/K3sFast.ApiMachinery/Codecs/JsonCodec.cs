using System.Buffers;

namespace K3sFast.ApiMachinery;

/// <summary>JSON bodies into trees by a schema, and back in upstream's form.</summary>
public static class JsonCodec
{
    /// <summary>Parses a body. With a type: its fields only, values in upstream's form, nulls dropped. Without: anything.</summary>
    public static ApiObject Decode(ReadOnlySpan<byte> json, TypeSchema? type, DecodeOptions options, ICollection<string>? strictErrors) =>
        throw new NotImplementedException();

    /// <summary>Writes a node as upstream would: fields in declaration order, empty ones by their rules, maps sorted.</summary>
    public static void Encode(ApiNode node, TypeSchema? type, IBufferWriter<byte> output) => throw new NotImplementedException();
}
