using System.Buffers;

namespace K3sFast.ApiMachinery;

/// <summary>Kubernetes' protobuf bodies into trees and back.</summary>
public static class ProtobufCodec
{
    /// <summary>Parses an enveloped object ("k8s\0" + runtime.Unknown) of a kind that the schema knows.</summary>
    public static ApiObject Decode(ReadOnlySpan<byte> envelope, Schema schema) => throw new NotImplementedException();

    /// <summary>Writes a node as an enveloped object.</summary>
    public static void Encode(ApiNode node, TypeSchema type, IBufferWriter<byte> output) => throw new NotImplementedException();
}
