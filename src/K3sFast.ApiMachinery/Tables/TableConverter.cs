using System.Buffers;

namespace K3sFast.ApiMachinery;

/// <summary>What a row carries of its object (query parameter includeObject).</summary>
public enum IncludeObject : byte
{
    /// <summary>A PartialObjectMetadata; the default.</summary>
    Metadata,

    /// <summary>Nothing.</summary>
    None,

    /// <summary>The whole object.</summary>
    Object,
}

/// <summary>The list metadata that a table shows.</summary>
public readonly record struct TableListMeta(string? ResourceVersion, string? Continue = null, long? RemainingItemCount = null);

/// <summary>Server-side printing: objects as rows of a meta.k8s.io Table, with upstream's columns and cell texts.</summary>
public static class TableConverter
{
    /// <summary>Reads the includeObject query parameter; false for a value that upstream refuses.</summary>
    public static bool TryParseIncludeObject(string? value, out IncludeObject include)
    {
        include = value switch { "None" => IncludeObject.None, "Object" => IncludeObject.Object, _ => IncludeObject.Metadata };
        return value is null or "" or "None" or "Object" or "Metadata";
    }

    /// <summary>Writes a table of one object (a GET, or one watch event) with the object's own resourceVersion.</summary>
    /// <param name="resource">The objects' resource.</param>
    /// <param name="objectJson">The object, canonical JSON.</param>
    /// <param name="include">What the row carries of the object.</param>
    /// <param name="withHeaders">False leaves columnDefinitions null, as upstream does after the first event of a watch.</param>
    /// <param name="apiVersion">meta.k8s.io/v1 or v1beta1.</param>
    /// <param name="output">Where to write.</param>
    /// <param name="now">The time that ages are counted to.</param>
    public static void WriteSingle(
        ResourceInfo resource, ReadOnlySpan<byte> objectJson, IncludeObject include, bool withHeaders, string apiVersion, IBufferWriter<byte> output, DateTimeOffset now)
    {
        var table = new TableWriter(resource, include, output, now);
        using var document = table.Decode(objectJson);
        var version = document.Root["metadata"u8]["resourceVersion"u8];
        table.Begin(new TableListMeta(version.IsNullOrUndefined ? null : version.AsString()), withHeaders, apiVersion);
        table.AppendRow(document.Root, objectJson);
        table.End();
    }

    /// <summary>Writes a whole table; for large lists use <see cref="TableWriter"/> and flush between rows.</summary>
    public static void WriteTable(
        ResourceInfo resource, IEnumerable<ReadOnlyMemory<byte>> objects, in TableListMeta listMeta, IncludeObject include, IBufferWriter<byte> output, DateTimeOffset now)
    {
        var table = new TableWriter(resource, include, output, now);
        table.Begin(listMeta);
        foreach (var item in objects)
            table.AppendRow(item.Span);
        table.End();
    }
}
