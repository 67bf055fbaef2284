using System.Buffers;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Streams one Table: <see cref="Begin"/>, any number of <see cref="AppendRow(ReadOnlySpan{byte})"/>, <see cref="End"/>. Everything is written
/// to the buffer writer at once, so the caller may flush between rows and memory does not grow with their number.
/// </summary>
/// <remarks>One thread. A row costs a pooled parse of what its cells show; kinds that are listed in great numbers make no strings for them.</remarks>
public sealed class TableWriter
{
    private readonly IBufferWriter<byte> _output;
    private readonly IncludeObject _include;
    private readonly DateTimeOffset _now;
    private readonly TableColumn[] _columns;
    private readonly TableRowWriter _row;
    private readonly ReadMask _mask;
    private string _apiVersion = "meta.k8s.io/v1";
    private bool _hasRows;

    /// <summary>A table of one resource's objects.</summary>
    public TableWriter(ResourceInfo resource, IncludeObject include, IBufferWriter<byte> output, DateTimeOffset now)
    {
        _output = output;
        _include = include;
        _now = now;
        _columns = TableColumns.Find(resource.Group, resource.Kind) ?? (TableRows.IsCustom(resource) ? TableColumns.Custom : TableColumns.Default);
        _row = TableRows.For(resource);
        _mask = TableRows.MaskFor(resource);
    }

    /// <summary>Writes everything before the first row.</summary>
    public void Begin(in TableListMeta listMeta, bool withHeaders = true, string apiVersion = "meta.k8s.io/v1")
    {
        _apiVersion = apiVersion;
        var json = new JsonTextWriter(_output);
        json.Raw("{\"kind\":\"Table\",\"apiVersion\":"u8);
        WriteString(ref json, apiVersion);
        json.Raw(",\"metadata\":{"u8);
        bool hasMember = false;
        if (!string.IsNullOrEmpty(listMeta.ResourceVersion))
        {
            json.Raw("\"resourceVersion\":"u8);
            WriteString(ref json, listMeta.ResourceVersion);
            hasMember = true;
        }
        if (!string.IsNullOrEmpty(listMeta.Continue))
        {
            json.Raw(hasMember ? ",\"continue\":"u8 : "\"continue\":"u8);
            WriteString(ref json, listMeta.Continue);
            hasMember = true;
        }
        if (listMeta.RemainingItemCount is { } remaining)
        {
            json.Raw(hasMember ? ",\"remainingItemCount\":"u8 : "\"remainingItemCount\":"u8);
            TableCells.WriteNumber(ref json, remaining);
        }
        json.Raw("},\"columnDefinitions\":"u8);
        if (withHeaders)
            WriteColumns(ref json);
        else
            json.Raw("null"u8);
        json.Raw(",\"rows\":["u8);
        json.Flush();
    }

    /// <summary>Writes one row from the object's JSON.</summary>
    public void AppendRow(ReadOnlySpan<byte> objectJson)
    {
        using var document = Decode(objectJson);
        AppendRow(document.Root, objectJson);
    }

    /// <summary>Parses what rows read of an object; the caller disposes it.</summary>
    internal ApiObject Decode(ReadOnlySpan<byte> objectJson) => JsonCodec.DecodePart(objectJson, _mask);

    /// <summary>Writes one row from a parsed object; <paramref name="objectJson"/> is the same object, of which rows carry all or the metadata as it stands.</summary>
    internal void AppendRow(ApiNode obj, ReadOnlySpan<byte> objectJson)
    {
        var cells = new TableCells(_output, _now);
        cells.Json.Raw(_hasRows ? ",{\"cells\":["u8 : "{\"cells\":["u8);
        _hasRows = true;
        _row(ref cells, obj);
        cells.Json.Raw((byte)']');
        if (!cells.Conditions.IsEmpty)
        {
            cells.Json.Raw(",\"conditions\":"u8);
            cells.Json.Raw(cells.Conditions);
        }
        // Upstream writes null for a row without object.
        cells.Json.Raw(",\"object\":"u8);
        switch (_include)
        {
            case IncludeObject.None:
                cells.Json.Raw("null"u8);
                break;
            case IncludeObject.Object:
                cells.Json.Raw(objectJson);
                break;
            default:
                cells.Json.Raw("{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":"u8);
                WriteString(ref cells.Json, _apiVersion);
                cells.Json.Raw(",\"metadata\":"u8);
                if (obj["metadata"u8].Kind == NodeKind.Object)
                {
                    cells.Json.Flush();
                    JsonCodec.WriteMember(objectJson, "metadata"u8, _output);
                }
                else
                {
                    cells.Json.Raw("{}"u8);
                }
                cells.Json.Raw((byte)'}');
                break;
        }
        cells.Json.Raw((byte)'}');
        cells.Json.Flush();
    }

    /// <summary>Closes the table.</summary>
    public void End()
    {
        var json = new JsonTextWriter(_output);
        json.Raw("]}"u8);
        json.Flush();
    }

    private void WriteColumns(ref JsonTextWriter json)
    {
        json.Raw((byte)'[');
        for (int i = 0; i < _columns.Length; i++)
        {
            var column = _columns[i];
            json.Raw(i == 0 ? "{\"name\":"u8 : ",{\"name\":"u8);
            WriteString(ref json, column.Name);
            json.Raw(",\"type\":"u8);
            WriteString(ref json, column.Type);
            json.Raw(",\"format\":"u8);
            WriteString(ref json, column.Format);
            json.Raw(",\"description\":"u8);
            WriteString(ref json, column.Description);
            json.Raw(",\"priority\":"u8);
            TableCells.WriteNumber(ref json, column.Priority);
            json.Raw((byte)'}');
        }
        json.Raw((byte)']');
    }

    private static void WriteString(ref JsonTextWriter json, string text) => TableCells.WriteText(ref json, text);
}
