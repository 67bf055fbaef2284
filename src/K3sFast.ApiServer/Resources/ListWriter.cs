using System.Buffers;
using System.Globalization;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>Writes one list item by item, as JSON of the kind's list, a table or a PartialObjectMetadataList.</summary>
internal sealed class ListWriter(ResourceEndpoint endpoint, ResponseFormat format, IncludeObject include, IBufferWriter<byte> output, DateTimeOffset now)
{
    private readonly TableWriter? _table = format.Projection == Projection.Table ? new TableWriter(endpoint.Info, include, output, now) : null;
    private readonly byte[] _versionedPrefix = Encoding.UTF8.GetBytes($"{{\"kind\":\"{endpoint.Info.Kind}\",\"apiVersion\":\"{endpoint.Info.ApiVersion}\",");
    private bool _hasItems;

    internal void Begin(in ObjectReader.Page page)
    {
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

    internal void Append(StoredObject item)
    {
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
        if (format.Projection == Projection.PartialObjectMetadataList)
        {
            ObjectProjector.WritePartial(item.Json, format.MetaVersion, output);
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

    internal void End()
    {
        if (_table is not null)
            _table.End();
        else
            output.Write("]}"u8);
        if (format.Media == MediaKind.Json && !format.IsPretty)
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
