using System.Buffers;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Answers that are known whole: objects, statuses, texts. Length is known, so it is sent.</summary>
internal static class ResponseWriter
{
    /// <summary>Smaller answers are not worth compressing; upstream's bound.</summary>
    internal const int GzipThreshold = 128 * 1024;

    /// <summary>Writes JSON bytes as they are.</summary>
    internal static async ValueTask WriteJsonAsync(ApiCall call, int statusCode, ReadOnlyMemory<byte> json, bool appendNewline = true)
    {
        if (json.Length > GzipThreshold && call.AcceptsGzip)
        {
            await WriteGzipAsync(call, statusCode, ResponseFormat.Json, json).ConfigureAwait(false);
            return;
        }
        call.Start(statusCode, ResponseFormat.Json, json.Length + (appendNewline ? 1 : 0));
        var output = call.Output;
        output.Write(json.Span);
        if (appendNewline)
            output.Write("\n"u8);
        await output.FlushAsync(call.Aborted).ConfigureAwait(false);
    }

    /// <summary>Writes a canonical JSON object in the wanted form; <paramref name="type"/> is needed for protobuf only.</summary>
    internal static ValueTask WriteObjectAsync(ApiCall call, int statusCode, ReadOnlyMemory<byte> json, TypeSchema? type, ResponseFormat format)
    {
        if (format.IsPlainJson || format.Media == MediaKind.Json && !format.IsPretty)
            return WriteJsonAsync(call, statusCode, json);
        var buffer = new PooledBuffer(json.Length + 256);
        try
        {
            Transcode(json.Span, type, format, buffer);
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
        return WriteBufferAsync(call, statusCode, format.ContentType, buffer);
    }

    internal static ValueTask WriteStatusAsync(ApiCall call, ApiStatus status)
    {
        call.Audit?.SetStatus(status);
        // Where nothing is acceptable the refusal is indented JSON, as upstream sends it.
        if (!ResponseFormat.TryNegotiate(call, allowsProjection: false, out var format))
            format = new ResponseFormat(MediaKind.Json, IsPretty: true);
        if (status.RetryAfterSeconds > 0)
            call.SetHeader("Retry-After", status.RetryAfterSeconds.ToString(CultureInfo.InvariantCulture));
        var buffer = new PooledBuffer(512);
        status.WriteJson(buffer);
        if (format.Media == MediaKind.Json && !format.IsPretty)
        {
            buffer.Write("\n"u8);
            return WriteBufferAsync(call, status.Code, ResponseFormat.Json, buffer);
        }
        using (buffer)
        {
            var other = new PooledBuffer(512);
            Transcode(buffer.Span, Schema.BuiltIn.FindType("", "v1", "Status"), format, other);
            return WriteBufferAsync(call, status.Code, format.ContentType, other);
        }
    }

    internal static ValueTask WriteTextAsync(ApiCall call, int statusCode, string text, string contentType = "text/plain; charset=utf-8")
    {
        var buffer = new PooledBuffer(text.Length + 16);
        Encoding.UTF8.GetBytes(text, buffer);
        return WriteBufferAsync(call, statusCode, contentType, buffer);
    }

    /// <summary>An answer that is all headers.</summary>
    internal static ValueTask WriteEmptyAsync(ApiCall call, int statusCode)
    {
        call.Start(statusCode, "", statusCode == 304 ? -1 : 0);
        return ValueTask.CompletedTask;
    }

    /// <summary>Writes a document that is kept packed: as it is to who takes gzip, unpacked piece by piece to others.</summary>
    internal static async ValueTask WritePackedAsync(ApiCall call, string contentType, PackedDocument document)
    {
        if (document.Length > GzipThreshold && call.AcceptsGzip)
        {
            call.SetHeader("Content-Encoding", "gzip");
            call.Start(200, contentType, document.Packed.Length);
            await call.Output.WriteAsync(document.Packed, call.Aborted).ConfigureAwait(false);
            return;
        }
        call.Start(200, contentType, document.Length);
        var unpacked = document.Open();
        await using (unpacked.ConfigureAwait(false))
            await unpacked.CopyToAsync(call.Output.AsStream(leaveOpen: true), call.Aborted).ConfigureAwait(false);
        await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
    }

    /// <summary>Writes the buffer and gives it back.</summary>
    internal static async ValueTask WriteBufferAsync(ApiCall call, int statusCode, string contentType, PooledBuffer buffer)
    {
        using (buffer)
            await WriteBytesAsync(call, statusCode, contentType, buffer.Written).ConfigureAwait(false);
    }

    /// <summary>Writes bytes as they are; many of them packed for who takes gzip.</summary>
    internal static async ValueTask WriteBytesAsync(ApiCall call, int statusCode, string contentType, ReadOnlyMemory<byte> body)
    {
        if (body.Length > GzipThreshold && call.AcceptsGzip)
        {
            await WriteGzipAsync(call, statusCode, contentType, body).ConfigureAwait(false);
            return;
        }
        call.Start(statusCode, contentType, body.Length);
        call.Output.Write(body.Span);
        await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
    }

    /// <summary>Starts an answer whose length is not known, packed for who takes gzip. The caller disposes the stream and then flushes the connection.</summary>
    internal static Stream Open(ApiCall call, int statusCode, string contentType)
    {
        if (!call.AcceptsGzip)
        {
            call.Start(statusCode, contentType, -1);
            return call.Output.AsStream(leaveOpen: true);
        }
        call.SetHeader("Content-Encoding", "gzip");
        call.SetHeader("Vary", "Accept-Encoding");
        call.Start(statusCode, contentType, -1);
        return new GZipStream(call.Output.AsStream(leaveOpen: true), CompressionLevel.Fastest);
    }

    /// <summary>One object's canonical JSON in another form.</summary>
    internal static void Transcode(ReadOnlySpan<byte> json, TypeSchema? type, ResponseFormat format, IBufferWriter<byte> output)
    {
        switch (format.Media)
        {
            case MediaKind.Json when !format.IsPretty:
                output.Write(json);
                break;
            case MediaKind.Protobuf:
                ProtobufCodec.Transcode(json, type ?? throw ApiStatus.NotAcceptable([ResponseFormat.Json]).ToException(), output);
                break;
            case MediaKind.Yaml:
                using (var document = JsonCodec.Decode(json, null, DecodeOptions.Free, null))
                    YamlText.Write(document.Root, output);
                break;
            default:
                JsonIndent.Write(json, output);
                break;
        }
    }

    private static async ValueTask WriteGzipAsync(ApiCall call, int statusCode, string contentType, ReadOnlyMemory<byte> body)
    {
        var gzip = Open(call, statusCode, contentType);
        await using (gzip.ConfigureAwait(false))
            await gzip.WriteAsync(body, call.Aborted).ConfigureAwait(false);
        await call.Output.FlushAsync(call.Aborted).ConfigureAwait(false);
    }
}
