using System.IO.Pipelines;

namespace K3sFast.ApiServer;

/// <summary>Lists as JSON, compact or indented, and as YAML: sent while they are written. Memory does not grow with the list.</summary>
internal static class TextLists
{
    // A list is handed to the connection in pieces of about this size.
    private const int FlushBytes = 64 * 1024;

    internal static ValueTask WriteAsync(ApiCall call, ListShape shape, PageReader objects, Page page)
    {
        if (!shape.IsCompactJson || call.AcceptsGzip)
            return WritePiecesAsync(call, shape, objects, page);
        call.Start(200, shape.Format.ContentType, -1);
        return StreamAsync(call.Output, call.Aborted, shape, objects, page);
    }

    // Straight into the connection.
    private static async ValueTask StreamAsync(PipeWriter output, CancellationToken aborted, ListShape shape, PageReader objects, Page page)
    {
        using var writer = ListWriter.Create(shape, output);
        writer.Begin(page);
        while (await WriteSomeAsync(objects, writer, aborted).ConfigureAwait(false))
        {
            var flushed = await output.FlushAsync(aborted).ConfigureAwait(false);
            if (flushed.IsCompleted)
                return;
        }
        await output.FlushAsync(aborted).ConfigureAwait(false);
    }

    // Short lists whole, with their length; long ones piece by piece. The first bytes wait until it is known whether the whole is worth compressing.
    private static async ValueTask WritePiecesAsync(ApiCall call, ListShape shape, PageReader objects, Page page)
    {
        var mostWhole = call.AcceptsGzip ? ResponseWriter.GzipThreshold : FlushBytes;
        using var piece = new PooledBuffer(mostWhole + FlushBytes);
        using var writer = ListWriter.Create(shape, piece);
        writer.Begin(page);
        var hasMore = true;
        while (hasMore && piece.Length <= mostWhole)
            hasMore = await WriteSomeAsync(objects, writer, call.Aborted).ConfigureAwait(false);
        if (!hasMore)
        {
            await ResponseWriter.WriteBytesAsync(call, 200, shape.Format.ContentType, piece.Written).ConfigureAwait(false);
            return;
        }
        var output = ResponseWriter.Open(call, 200, shape.Format.ContentType);
        await using (output.ConfigureAwait(false))
        {
            while (true)
            {
                await output.WriteAsync(piece.Written, call.Aborted).ConfigureAwait(false);
                piece.Clear();
                if (!hasMore)
                    break;
                hasMore = await WriteSomeAsync(objects, writer, call.Aborted).ConfigureAwait(false);
            }
        }
        await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
    }

    // False = the list is at its end.
    private static async ValueTask<bool> WriteSomeAsync(PageReader objects, ListWriter writer, CancellationToken aborted)
    {
        if (WriteSome(objects, writer) || await objects.FillAsync(aborted).ConfigureAwait(false))
            return true;
        writer.End();
        return false;
    }

    // False = everything that is at hand is written.
    private static bool WriteSome(PageReader objects, ListWriter writer)
    {
        var written = 0;
        while (written < FlushBytes)
        {
            if (!objects.MoveNext())
                return false;
            writer.Append(objects.Current);
            written += objects.Current.Json.Length;
        }
        return true;
    }
}
