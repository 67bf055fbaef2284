using System.Buffers;
using System.Globalization;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>As compact JSON of the kind's list, a table or a PartialObjectMetadataList; the items are the last member.</summary>
internal sealed class JsonListWriter(ListShape shape, IBufferWriter<byte> output) : ListWriter
{
    private readonly TableWriter? _table =
        shape.Format.Projection == Projection.Table ? new TableWriter(shape.Endpoint.Info, shape.Include, output, shape.Now) : null;
    private readonly byte[] _versionedPrefix =
        Encoding.UTF8.GetBytes($"{{\"kind\":\"{shape.Endpoint.Info.Kind}\",\"apiVersion\":\"{shape.Endpoint.Info.ApiVersion}\",");
    private bool _hasItems;

    internal override void Begin(in Page page)
    {
        var (endpoint, format) = (shape.Endpoint, shape.Format);
        if (_table is not null)
        {
            _table.Begin(
                new TableListMeta(page.Revision.ToString(CultureInfo.InvariantCulture), page.Continue, page.Remaining), true, $"meta.k8s.io/{format.MetaVersion}");
            return;
        }
        var isPartial = format.Projection == Projection.PartialObjectMetadataList;
        var kind = isPartial ? "PartialObjectMetadataList" : endpoint.Info.ListKind;
        var version = isPartial ? $"meta.k8s.io/{format.MetaVersion}" : endpoint.Info.ApiVersion;
        var token = page.Continue is null ? "" : $",\"continue\":\"{page.Continue}\"";
        var remaining = page.Remaining is { } count ? string.Create(CultureInfo.InvariantCulture, $",\"remainingItemCount\":{count}") : "";
        Encoding.UTF8.GetBytes(
            string.Create(CultureInfo.InvariantCulture, $"{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{{\"resourceVersion\":\"{page.Revision}\"{token}{remaining}}},\"items\":["),
            output);
    }

    internal override void Append(StoredObject item)
    {
        var endpoint = shape.Endpoint;
        if (_table is not null)
        {
            if (endpoint.IsStorageVersion)
            {
                using var json = item.Json.Rent();
                _table.AppendRow(json.Span);
                return;
            }
            using var row = new PooledBuffer(item.Json.Length + 64);
            ObjectProjector.WriteVersioned(endpoint, item.Json, row);
            _table.AppendRow(row.Span);
            return;
        }
        if (_hasItems)
            output.Write(","u8);
        _hasItems = true;
        if (shape.Format.Projection == Projection.PartialObjectMetadataList)
        {
            ObjectProjector.WritePartial(item.Json, shape.Format.MetaVersion, output);
            return;
        }
        if (endpoint.IsStorageVersion)
        {
            WriteItem(item.Json, endpoint.Storage!.ListItemPrefix);
            return;
        }
        using var versioned = new PooledBuffer(item.Json.Length + 64);
        ObjectProjector.WriteVersioned(endpoint, item.Json, versioned);
        WriteItem(versioned.Span, _versionedPrefix);
    }

    internal override void End()
    {
        if (_table is not null)
            _table.End();
        else
            output.Write("]}"u8);
        if (shape.IsCompactJson)
            output.Write("\n"u8);
    }

    // Items of a list carry neither kind nor apiVersion: the list says both.
    private void WriteItem(StoredBytes json, ReadOnlySpan<byte> prefix)
    {
        if (json.Head.StartsWith(prefix))
        {
            output.Write("{"u8);
            json = json.Skip(prefix.Length);
        }
        json.WriteTo(output);
    }
}
