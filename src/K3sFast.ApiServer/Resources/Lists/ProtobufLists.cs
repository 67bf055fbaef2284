using System.Buffers;
using System.Globalization;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// Lists as protobuf. The envelope tells the length of everything first, so a long list is measured before it is sent, piece by piece. An object is
/// encoded to be measured once, for all lists. Memory does not grow with the list.
/// </summary>
internal static class ProtobufLists
{
    // Lists up to here are kept from the first time; also what long ones are handed over in. With one more item it fits the writer's first buffer.
    private const int PieceBytes = 32 * 1024;

    // Other requests have their turn after so many objects.
    private const int MeasuredAtOnce = 500;

    internal static async ValueTask WriteAsync(ApiCall call, ResourceEndpoint endpoint, ResponseFormat format, Snapshot snapshot, ListQuery query, Page page)
    {
        using var items = new ProtobufListWriter();
        var objects = new PageReader(snapshot, query.Filter, page);
        var isWhole = true;
        while (EncodeSome(objects, items, endpoint, format) || await objects.FillAsync(call.Aborted).ConfigureAwait(false))
        {
            if (items.Items.Length >= PieceBytes)
            {
                isWhole = false;
                break;
            }
        }
        long itemBytes = items.Items.Length;
        if (!isWhole)
        {
            do
            {
                items.Clear();
                itemBytes += MeasureSome(objects, items, endpoint, format, out var hasMore);
                if (hasMore)
                    await Task.Yield();
                else if (!await objects.FillAsync(call.Aborted).ConfigureAwait(false))
                    break;
            }
            while (true);
        }

        var buffer = new PooledBuffer(isWhole ? items.Items.Length + 512 : 512);
        WriteHead(endpoint, format, page, itemBytes, buffer);
        if (isWhole)
        {
            buffer.Write(items.Items);
            ProtobufListWriter.WriteTail(buffer);
            await ResponseWriter.WriteBufferAsync(call, 200, format.ContentType, buffer).ConfigureAwait(false);
            return;
        }
        using (buffer)
        {
            if (!call.AcceptsGzip || itemBytes <= ResponseWriter.GzipThreshold)
            {
                call.Start(200, format.ContentType, buffer.Length + itemBytes + ProtobufListWriter.TailLength);
                await StreamAsync(call, buffer, items, new(snapshot, query.Filter, page), endpoint, format).ConfigureAwait(false);
                return;
            }
            await CompressAsync(call, buffer, items, new(snapshot, query.Filter, page), endpoint, format).ConfigureAwait(false);
        }
    }

    private static async ValueTask StreamAsync(
        ApiCall call, PooledBuffer head, ProtobufListWriter items, PageReader objects, ResourceEndpoint endpoint, ResponseFormat format)
    {
        var output = call.Output;
        output.Write(head.Span);
        for (var hasMore = true; hasMore;)
        {
            items.Clear();
            hasMore = EncodeSome(objects, items, endpoint, format) || await objects.FillAsync(call.Aborted).ConfigureAwait(false);
            output.Write(items.Items);
            if (!hasMore)
                ProtobufListWriter.WriteTail(output);
            var flushed = await output.FlushAsync(call.Aborted).ConfigureAwait(false);
            if (flushed.IsCompleted)
                return;
        }
    }

    private static async ValueTask CompressAsync(
        ApiCall call, PooledBuffer buffer, ProtobufListWriter items, PageReader objects, ResourceEndpoint endpoint, ResponseFormat format)
    {
        var gzip = ResponseWriter.Open(call, 200, format.ContentType);
        await using (gzip.ConfigureAwait(false))
        {
            await gzip.WriteAsync(buffer.Written, call.Aborted).ConfigureAwait(false);
            for (var hasMore = true; hasMore;)
            {
                items.Clear();
                hasMore = EncodeSome(objects, items, endpoint, format) || await objects.FillAsync(call.Aborted).ConfigureAwait(false);
                await gzip.WriteAsync(items.ItemsMemory, call.Aborted).ConfigureAwait(false);
            }
            buffer.Clear();
            ProtobufListWriter.WriteTail(buffer);
            await gzip.WriteAsync(buffer.Written, call.Aborted).ConfigureAwait(false);
        }
        await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
    }

    // False = everything that is at hand is encoded.
    private static bool EncodeSome(PageReader objects, ProtobufListWriter items, ResourceEndpoint endpoint, ResponseFormat format)
    {
        while (objects.MoveNext())
        {
            Encode(objects.Current, items, endpoint, format);
            if (items.Items.Length >= PieceBytes)
                return true;
        }
        return false;
    }

    // Bytes of the next objects that are at hand, as items.
    private static long MeasureSome(PageReader objects, ProtobufListWriter items, ResourceEndpoint endpoint, ResponseFormat format, out bool hasMore)
    {
        long bytes = 0;
        hasMore = false;
        for (var left = MeasuredAtOnce; objects.MoveNext(); left--)
        {
            items.Clear();
            var known = IsMeasuredOnce(endpoint, format) ? objects.Current.ProtobufItemLength : 0;
            bytes += known > 0 ? known : Encode(objects.Current, items, endpoint, format);
            if (left == 0)
            {
                hasMore = true;
                break;
            }
        }
        return bytes;
    }

    // Answers the item's bytes.
    private static int Encode(StoredObject stored, ProtobufListWriter items, ResourceEndpoint endpoint, ResponseFormat format)
    {
        var isPartial = format.Projection == Projection.PartialObjectMetadataList;
        if (isPartial || endpoint.IsStorageVersion)
        {
            using var json = stored.Json.Rent();
            var length = items.Append(json.Span, isPartial ? ObjectProjector.PartialType : endpoint.Info.Type);
            return isPartial ? length : stored.ProtobufItemLength = length;
        }
        using var versioned = new PooledBuffer(stored.Json.Length + 64);
        ObjectProjector.WriteVersioned(endpoint, stored.Json, versioned);
        return items.Append(versioned.Span, endpoint.Info.Type);
    }

    private static bool IsMeasuredOnce(ResourceEndpoint endpoint, ResponseFormat format) =>
        endpoint.IsStorageVersion && format.Projection != Projection.PartialObjectMetadataList;

    private static void WriteHead(ResourceEndpoint endpoint, ResponseFormat format, Page page, long itemBytes, PooledBuffer output)
    {
        var isPartial = format.Projection == Projection.PartialObjectMetadataList;
        var kind = isPartial ? "PartialObjectMetadataList" : endpoint.Info.ListKind;
        var version = isPartial ? $"meta.k8s.io/{format.MetaVersion}" : endpoint.Info.ApiVersion;
        var meta = new TableListMeta(page.Revision.ToString(CultureInfo.InvariantCulture), page.Continue, page.Remaining);
        ProtobufListWriter.WriteHead(Encoding.UTF8.GetBytes(kind), Encoding.UTF8.GetBytes(version), meta, itemBytes, output);
    }
}
