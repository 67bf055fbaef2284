using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Kubernetes' protobuf bodies (application/vnd.kubernetes.protobuf) into trees and back:
/// <code>
/// "k8s\0"  runtime.Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: raw = the object's message, 3: contentEncoding = "", 4: contentType = "" }
/// </code>
/// The object's own kind and apiVersion are in the envelope only.
/// </summary>
/// <remarks>Any thread.</remarks>
public static class ProtobufCodec
{
    /// <summary>The first bytes of every enveloped object, on the wire and at rest.</summary>
    public static ReadOnlySpan<byte> Magic => "k8s\0"u8;

    /// <summary>Parses an enveloped object of a kind that the schema knows. The caller disposes the tree.</summary>
    /// <param name="envelope">The body.</param>
    /// <param name="schema">Where kinds are looked up.</param>
    /// <param name="assumed">The type of a body that names no kind; null = refuse such.</param>
    /// <exception cref="ApiStatusException">400 when it cannot be read or the kind is unknown.</exception>
    public static ApiObject Decode(ReadOnlySpan<byte> envelope, Schema schema, TypeSchema? assumed = null)
    {
        var document = ApiObject.RentForDecode(envelope.Length * 2);
        try
        {
            document.RootIndex = new ProtoTreeDecoder(document, schema).ReadEnvelope(envelope, assumed, 0);
            document[document.RootIndex].IsAttached = true;
            return document;
        }
        catch
        {
            document.Dispose();
            throw;
        }
    }

    /// <summary>Reads version and kind off an envelope without its object; false when the envelope is broken. Both are empty when it names none.</summary>
    public static bool TryReadKind(ReadOnlySpan<byte> envelope, out string apiVersion, out string kind)
    {
        (apiVersion, kind) = ("", "");
        if (!envelope.StartsWith(Magic))
            return false;
        try
        {
            ProtoTreeDecoder.ReadKind(envelope, out var version, out var name);
            (apiVersion, kind) = (Encoding.UTF8.GetString(version), Encoding.UTF8.GetString(name));
            return true;
        }
        catch (ApiStatusException)
        {
            return false;
        }
    }

    /// <summary>Writes an object of that type in its envelope; kind and apiVersion are the object's, or the type's where it has none.</summary>
    public static void Encode(ApiNode node, TypeSchema type, IBufferWriter<byte> output)
    {
        var writer = new ProtoWriter(4096);
        WriteEnvelope(ref writer, node, type);
        output.Write(writer.Written);
        writer.Dispose();
    }

    /// <summary>Writes an object of that type from its JSON in its envelope, as <see cref="Encode"/> would write it. Canonical JSON becomes no tree.</summary>
    /// <exception cref="ApiStatusException">400 when this is no JSON.</exception>
    public static void Transcode(ReadOnlySpan<byte> json, TypeSchema type, IBufferWriter<byte> output)
    {
        var writer = new ProtoWriter(json.Length + 256);
        if (!TryTranscode(ref writer, json, type))
        {
            writer.Clear();
            using var document = JsonCodec.Decode(json, null, DecodeOptions.Free, null);
            WriteEnvelope(ref writer, document.Root, type);
        }
        output.Write(writer.Written);
        writer.Dispose();
    }

    /// <summary>Writes one watch frame: four bytes of length (big endian), then WatchEvent { 1: type, 2: RawExtension { 1: envelope } }, itself without envelope.</summary>
    public static void EncodeWatchFrame(ReadOnlySpan<byte> eventType, ReadOnlySpan<byte> envelope, IBufferWriter<byte> output)
    {
        var writer = new ProtoWriter(envelope.Length + 64);
        writer.BytesField(1, eventType);
        var start = writer.Begin(2);
        writer.BytesField(1, envelope);
        writer.End(start);
        BinaryPrimitives.WriteInt32BigEndian(output.GetSpan(4), writer.Written.Length);
        output.Advance(4);
        output.Write(writer.Written);
        writer.Dispose();
    }

    private static bool TryTranscode(ref ProtoWriter writer, ReadOnlySpan<byte> json, TypeSchema type)
    {
        if (!JsonTranscoder.TryReadKind(json, out var apiVersion, out var kind))
            return false;
        var raw = BeginEnvelope(ref writer, apiVersion, kind, type);
        if (!JsonTranscoder.TryWriteMessage(json, type, ref writer))
            return false;
        EndEnvelope(ref writer, raw);
        return true;
    }

    private static void WriteEnvelope(ref ProtoWriter writer, ApiNode node, TypeSchema type)
    {
        var raw = BeginEnvelope(ref writer, node["apiVersion"u8].Utf8, node["kind"u8].Utf8, type);
        ProtoTreeEncoder.WriteMessage(ref writer, node, type);
        EndEnvelope(ref writer, raw);
    }

    private static int BeginEnvelope(ref ProtoWriter writer, scoped ReadOnlySpan<byte> apiVersion, scoped ReadOnlySpan<byte> kind, TypeSchema type)
    {
        writer.Raw(Magic);
        var typeMeta = writer.Begin(1);
        writer.BytesField(1, apiVersion.Length > 0 ? apiVersion : Encoding.UTF8.GetBytes(type.ApiVersion));
        writer.BytesField(2, kind.Length > 0 ? kind : Encoding.UTF8.GetBytes(type.Kind));
        writer.End(typeMeta);
        return writer.Begin(2);
    }

    private static void EndEnvelope(ref ProtoWriter writer, int raw)
    {
        writer.End(raw);
        writer.BytesField(3, default);
        writer.BytesField(4, default);
    }
}
