using System.Text;

namespace K3sFast.ApiMachinery;

// What stands around an object: which kind it is.
internal readonly ref partial struct ProtoTreeDecoder
{
    /// <summary>Reads "k8s\0" and runtime.Unknown; answers the object with its kind and apiVersion.</summary>
    public int ReadEnvelope(ReadOnlySpan<byte> envelope, TypeSchema? assumed, int depth)
    {
        if (!envelope.StartsWith(ProtobufCodec.Magic))
            ProtoReader.Throw("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
        ReadOnlySpan<byte> raw = default, apiVersion = default, kind = default;
        var reader = new ProtoReader(envelope[ProtobufCodec.Magic.Length..]);
        while (reader.TryTag(out var number, out var wireType))
        {
            if (number == 1 && wireType == ProtoWriter.Bytes)
                ReadTypeMeta(reader.Bytes(), out apiVersion, out kind);
            else if (number == 2 && wireType == ProtoWriter.Bytes)
                raw = reader.Bytes();
            else
                reader.Skip(wireType);
        }
        var type = kind.Length == 0 ? assumed : FindType(apiVersion, kind);
        if (type is null)
        {
            ProtoReader.Throw(kind.Length == 0
                ? "Object 'Kind' is missing in protobuf body"
                : $"no kind {GoText.Quote(kind)} is registered for version {GoText.Quote(apiVersion)}");
        }
        var node = _document.NewNode(NodeKind.Object);
        var root = new ApiNode(_document, node);
        if (type.TryGetField("kind"u8, out _))
        {
            root.Set("kind"u8, kind.Length > 0 ? kind : Encoding.UTF8.GetBytes(type.Kind));
            root.Set("apiVersion"u8, apiVersion.Length > 0 ? apiVersion : Encoding.UTF8.GetBytes(type.ApiVersion));
        }
        ReadMessage(raw, node, type, depth);
        return node;
    }

    /// <summary>The envelope's type meta alone.</summary>
    public static void ReadKind(ReadOnlySpan<byte> envelope, out ReadOnlySpan<byte> apiVersion, out ReadOnlySpan<byte> kind)
    {
        apiVersion = kind = default;
        var reader = new ProtoReader(envelope[ProtobufCodec.Magic.Length..]);
        while (reader.TryTag(out var number, out var wireType))
        {
            if (number == 1 && wireType == ProtoWriter.Bytes)
                ReadTypeMeta(reader.Bytes(), out apiVersion, out kind);
            else
                reader.Skip(wireType);
        }
    }

    private TypeSchema? FindType(ReadOnlySpan<byte> apiVersion, ReadOnlySpan<byte> kind)
    {
        var slash = apiVersion.IndexOf((byte)'/');
        return _schema.FindType(
            Encoding.UTF8.GetString(apiVersion[..Math.Max(slash, 0)]), Encoding.UTF8.GetString(apiVersion[(slash + 1)..]), Encoding.UTF8.GetString(kind));
    }

    private static void ReadTypeMeta(ReadOnlySpan<byte> message, out ReadOnlySpan<byte> apiVersion, out ReadOnlySpan<byte> kind)
    {
        apiVersion = kind = default;
        var reader = new ProtoReader(message);
        while (reader.TryTag(out var number, out var wireType))
        {
            if (number == 1 && wireType == ProtoWriter.Bytes)
                apiVersion = reader.Bytes();
            else if (number == 2 && wireType == ProtoWriter.Bytes)
                kind = reader.Bytes();
            else
                reader.Skip(wireType);
        }
    }
}
