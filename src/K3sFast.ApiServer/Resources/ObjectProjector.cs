using System.Buffers;
using System.Globalization;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// Stored JSON into what one client asked for: another version, only the metadata, a table, another encoding. The plain case (JSON of the stored
/// version) never comes here.
/// </summary>
internal static class ObjectProjector
{
    /// <summary>metadata alone, whatever the object.</summary>
    internal static TypeSchema PartialType { get; } =
        Schema.BuiltIn.FindType("meta.k8s.io", "v1", "PartialObjectMetadata") ?? throw new InvalidOperationException("the schema has no PartialObjectMetadata");

    /// <summary>Stored JSON as JSON of the endpoint's version.</summary>
    internal static void WriteVersioned(ResourceEndpoint endpoint, StoredBytes stored, IBufferWriter<byte> output)
    {
        if (endpoint.IsStorageVersion)
        {
            stored.WriteTo(output);
            return;
        }
        using var json = stored.Rent();
        using var document = JsonCodec.Decode(json.Span, null, DecodeOptions.Free, null);
        VersionConversion.Convert(document.Root, endpoint.Storage!.Info, endpoint.Info);
        JsonCodec.Encode(document.Root, endpoint.Info.Type, output);
    }

    /// <summary>An object's metadata as PartialObjectMetadata.</summary>
    internal static void WritePartial(StoredBytes json, string metaVersion, IBufferWriter<byte> output)
    {
        using var text = json.Rent();
        output.Write("{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/"u8);
        Encoding.UTF8.GetBytes(metaVersion, output);
        output.Write("\",\"metadata\":"u8);
        JsonCodec.WriteMember(text.Span, "metadata"u8, output);
        output.Write("}"u8);
    }

    /// <summary>One object in the wanted form, whole.</summary>
    internal static void Write(
        ResourceEndpoint endpoint, StoredBytes stored, ResponseFormat format, IncludeObject include, bool withHeaders, DateTimeOffset now, IBufferWriter<byte> output)
    {
        if (format.IsPlainJson && endpoint.IsStorageVersion)
        {
            stored.WriteTo(output);
            return;
        }
        using var json = new PooledBuffer(stored.Length + 64);
        WriteVersioned(endpoint, stored, json);
        Project(endpoint, json.Span, format, include, withHeaders, now, output);
    }

    /// <summary>JSON of the endpoint's own version in the wanted form.</summary>
    internal static void Project(
        ResourceEndpoint endpoint, ReadOnlySpan<byte> json, ResponseFormat format, IncludeObject include, bool withHeaders, DateTimeOffset now, IBufferWriter<byte> output)
    {
        var type = endpoint.Info.Type;
        PooledBuffer? projected = null;
        try
        {
            switch (format.Projection)
            {
                case Projection.Table:
                    projected = new PooledBuffer();
                    TableConverter.WriteSingle(endpoint.Info, json, include, withHeaders, $"meta.k8s.io/{format.MetaVersion}", projected, now);
                    break;
                case Projection.PartialObjectMetadata or Projection.PartialObjectMetadataList:
                    projected = new PooledBuffer();
                    WritePartial(json, format.MetaVersion, projected);
                    type = PartialType;
                    break;
            }
            var text = projected is null ? json : projected.Span;
            if (format.Media == MediaKind.Json && !format.IsPretty)
                output.Write(text);
            else
                ResponseWriter.Transcode(text, type, format, output);
        }
        finally
        {
            projected?.Dispose();
        }
    }

    /// <summary>The same JSON with another resourceVersion: what a watcher sees when an object stops matching its selector.</summary>
    internal static void WriteWithRevision(StoredBytes json, long revision, IBufferWriter<byte> output)
    {
        using var text = json.Rent();
        using var document = JsonCodec.Decode(text.Span, null, DecodeOptions.Free, null);
        document.Root.GetOrAddObject("metadata"u8).Set("resourceVersion"u8, revision.ToString(CultureInfo.InvariantCulture));
        document.Root.WriteJson(output);
    }
}
