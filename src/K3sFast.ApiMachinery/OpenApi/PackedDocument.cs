using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>
/// A document as it is kept: gzip, with the length and the hash of what is inside. Making one never holds the whole text; a client that takes gzip gets
/// the bytes as they are.
/// </summary>
public sealed class PackedDocument
{
    private readonly byte[] _packed;

    private PackedDocument(byte[] packed, int length, string hash)
    {
        _packed = packed;
        Length = length;
        Hash = hash;
    }

    /// <summary>The document, gzip.</summary>
    public ReadOnlyMemory<byte> Packed => _packed;

    /// <summary>Length of the document itself, bytes.</summary>
    public int Length { get; }

    /// <summary>SHA-512 of the document, upper-case hexadecimal: upstream's ETag.</summary>
    public string Hash { get; }

    /// <summary>The document, unpacked as it is read; the caller disposes the stream.</summary>
    public Stream Open() => new GZipStream(new MemoryStream(_packed, writable: false), CompressionMode.Decompress);

    internal static PackedDocument OfJson(Action<Utf8JsonWriter> write)
    {
        using var sink = new PackingStream();
        // Documents are large and their writers are ours: checking every token twice would only cost.
        using (var json = new Utf8JsonWriter(sink, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true }))
            write(json);
        return sink.Finish();
    }

    internal static PackedDocument OfParts(IReadOnlyList<byte[]> parts)
    {
        using var sink = new PackingStream();
        foreach (var part in parts)
            sink.Write(part);
        return sink.Finish();
    }

    private sealed class PackingStream : Stream
    {
        private readonly MemoryStream _packed = new();
        private readonly GZipStream _gzip;
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA512);
        private int _length;

        internal PackingStream() => _gzip = new GZipStream(_packed, CompressionLevel.Optimal, leaveOpen: true);

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => _length;

        public override long Position { get => _length; set => throw new NotSupportedException(); }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            _hash.AppendData(buffer);
            _gzip.Write(buffer);
            _length += buffer.Length;
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        // The writer of JSON flushes between parts to keep its buffer small; flushing gzip with it would cost compression.
        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        internal PackedDocument Finish()
        {
            _gzip.Dispose();
            return new PackedDocument(_packed.ToArray(), _length, Convert.ToHexString(_hash.GetHashAndReset()));
        }

        protected override void Dispose(bool disposing)
        {
            _gzip.Dispose();
            _hash.Dispose();
            base.Dispose(disposing);
        }
    }
}
