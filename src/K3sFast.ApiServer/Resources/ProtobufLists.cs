using System.Buffers;
using System.Globalization;
using System.IO.Compression;
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
    // Lists up to here are kept from the first time; also what long ones are handed over in.
    private const int PieceBytes = 128 * 1024;

    internal static async ValueTask WriteAsync(ApiCall call, ResourceEndpoint endpoint, ResponseFormat format, Snapshot snapshot, ListQuery query, ObjectReader.Page page)
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
                itemBytes += MeasureSome(objects, items, endpoint, format);
            }
            while (await objects.FillAsync(call.Aborted).ConfigureAwait(false));
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
            if (!call.AcceptsGzip)
            {
                using var tail = new PooledBuffer(16);
                ProtobufListWriter.WriteTail(tail);
                call.Start(200, format.ContentType, buffer.Length + itemBytes + tail.Length);
                await SendAsync(call, call.Output.AsStream(leaveOpen: true)).ConfigureAwait(false);
                return;
            }
            call.SetHeader("Content-Encoding", "gzip");
            call.SetHeader("Vary", "Accept-Encoding");
            call.Start(200, format.ContentType, -1);
            var gzip = new GZipStream(call.Output.AsStream(leaveOpen: true), CompressionLevel.Fastest);
            await using (gzip.ConfigureAwait(false))
                await SendAsync(call, gzip).ConfigureAwait(false);
            await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
        }

        async ValueTask SendAsync(ApiCall to, Stream stream)
        {
            await stream.WriteAsync(buffer.Written, to.Aborted).ConfigureAwait(false);
            var again = new PageReader(snapshot, query.Filter, page);
            for (var hasMore = true; hasMore;)
            {
                items.Clear();
                buffer.Clear();
                hasMore = EncodeSome(again, items, endpoint, format) || await again.FillAsync(to.Aborted).ConfigureAwait(false);
                buffer.Write(items.Items);
                if (!hasMore)
                    ProtobufListWriter.WriteTail(buffer);
                await stream.WriteAsync(buffer.Written, to.Aborted).ConfigureAwait(false);
            }
        }
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

    // Bytes of everything that is at hand, as items.
    private static long MeasureSome(PageReader objects, ProtobufListWriter items, ResourceEndpoint endpoint, ResponseFormat format)
    {
        long bytes = 0;
        while (objects.MoveNext())
        {
            if (IsMeasuredOnce(endpoint, format) && objects.Current.ProtobufItemLength is > 0 and var known)
            {
                bytes += known;
                continue;
            }
            items.Clear();
            Encode(objects.Current, items, endpoint, format);
            bytes += items.Items.Length;
        }
        return bytes;
    }

    private static void Encode(StoredObject stored, ProtobufListWriter items, ResourceEndpoint endpoint, ResponseFormat format)
    {
        var before = items.Items.Length;
        var isPartial = format.Projection == Projection.PartialObjectMetadataList;
        if (IsMeasuredOnce(endpoint, format))
        {
            // With the type, members know which fields they are.
            using var item = JsonCodec.Decode(stored.Json, endpoint.Info.Type, DecodeOptions.Free, null);
            items.Append(item.Root, endpoint.Info.Type);
            stored.ProtobufItemLength = items.Items.Length - before;
            return;
        }
        using var other = JsonCodec.Decode(stored.Json, null, DecodeOptions.Free, null);
        if (!isPartial)
            VersionConversion.Convert(other.Root, endpoint.Storage!.Info, endpoint.Info);
        items.Append(other.Root, isPartial ? ObjectProjector.PartialType : endpoint.Info.Type);
    }

    private static bool IsMeasuredOnce(ResourceEndpoint endpoint, ResponseFormat format) =>
        endpoint.IsStorageVersion && format.Projection != Projection.PartialObjectMetadataList;

    private static void WriteHead(ResourceEndpoint endpoint, ResponseFormat format, ObjectReader.Page page, long itemBytes, PooledBuffer output)
    {
        var isPartial = format.Projection == Projection.PartialObjectMetadataList;
        var kind = isPartial ? "PartialObjectMetadataList" : endpoint.Info.ListKind;
        var version = isPartial ? $"meta.k8s.io/{format.MetaVersion}" : endpoint.Info.ApiVersion;
        var meta = new TableListMeta(page.Revision.ToString(CultureInfo.InvariantCulture), page.Continue, page.Remaining);
        ProtobufListWriter.WriteHead(Encoding.UTF8.GetBytes(kind), Encoding.UTF8.GetBytes(version), meta, itemBytes, output);
    }
}
