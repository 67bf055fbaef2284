using System.Buffers;
using System.Security.Cryptography;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using K3sFast.Containerd.Api;

namespace K3sFast.Containerd;

/// <summary>Writes blobs into containerd's content store, under one lease that keeps them until an image refers to them.</summary>
internal sealed class ContentStore(ContainerdConnection connection, string lease)
{
    // Well under gRPC's 16 MiB message limit in containerd, large enough that a layer is a few hundred messages.
    private const int ChunkBytes = 1 << 20;

    /// <summary>Streams a blob of <paramref name="length"/> bytes. One that is there already is left as it is.</summary>
    /// <param name="expected">Digest that it must have, or empty when it is not known before.</param>
    /// <exception cref="InvalidDataException">The blob ends early.</exception>
    /// <exception cref="RpcException">containerd refuses, for one because the digest differs.</exception>
    public async Task<Blob> WriteAsync(Stream source, long length, string expected, CancellationToken ct)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var call = connection.Content.Write(ContainerdConnection.Headers(lease), cancellationToken: ct);
        try
        {
            var reference = $"k3sfast-{Guid.NewGuid():n}";
            var isGzip = false;
            long offset = 0;
            while (offset < length)
            {
                var read = await source.ReadAtLeastAsync(buffer.AsMemory(0, (int)Math.Min(ChunkBytes, length - offset)), (int)Math.Min(ChunkBytes, length - offset), throwOnEndOfStream: false, ct).ConfigureAwait(false);
                if (read == 0)
                    throw new InvalidDataException("the archive ends inside a layer");
                // RFC 1952 §2.3.1: a gzip member begins with 1f 8b.
                if (offset == 0)
                    isGzip = read > 1 && buffer[0] == 0x1f && buffer[1] == 0x8b;
                hash.AppendData(buffer.AsSpan(0, read));
                await SendAsync(call, new() { Action = WriteAction.Write, Ref = reference, Offset = offset, Total = length, Data = UnsafeByteOperations.UnsafeWrap(buffer.AsMemory(0, read)) }, ct).ConfigureAwait(false);
                offset += read;
            }
            var digest = "sha256:" + Convert.ToHexStringLower(hash.GetHashAndReset());
            if (expected.Length > 0 && expected != digest)
                throw new InvalidDataException($"blob {expected} of the archive has digest {digest}");
            await CommitAsync(call, new() { Action = WriteAction.Commit, Ref = reference, Offset = length, Total = length, Expected = digest }, ct).ConfigureAwait(false);
            return new(digest, length, isGzip);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Writes a small blob and sets the labels by which containerd's collector finds its children.</summary>
    public async Task<Blob> WriteAsync(byte[] content, IReadOnlyDictionary<string, string> labels, CancellationToken ct)
    {
        using var stream = new MemoryStream(content, writable: false);
        var blob = await WriteAsync(stream, content.Length, "", ct).ConfigureAwait(false);
        if (labels.Count > 0)
        {
            var request = new UpdateRequest { Info = new() { Digest = blob.Digest }, UpdateMask = new FieldMask() };
            foreach (var (name, value) in labels)
            {
                request.Info.Labels[name] = value;
                request.UpdateMask.Paths.Add("labels." + name);
            }
            await connection.Content.UpdateAsync(request, ContainerdConnection.Headers(lease), cancellationToken: ct).ConfigureAwait(false);
        }
        return blob;
    }

    /// <summary>True when the store has the blob.</summary>
    public async Task<bool> HasAsync(string digest, CancellationToken ct)
    {
        try
        {
            await connection.Content.InfoAsync(new InfoRequest { Digest = digest }, ContainerdConnection.Headers(lease), cancellationToken: ct).ConfigureAwait(false);
            return true;
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            return false;
        }
    }

    private static async Task SendAsync(AsyncDuplexStreamingCall<WriteContentRequest, WriteContentResponse> call, WriteContentRequest request, CancellationToken ct)
    {
        await call.RequestStream.WriteAsync(request, ct).ConfigureAwait(false);
        await call.ResponseStream.MoveNext(ct).ConfigureAwait(false);
    }

    private static async Task CommitAsync(AsyncDuplexStreamingCall<WriteContentRequest, WriteContentResponse> call, WriteContentRequest request, CancellationToken ct)
    {
        try
        {
            await SendAsync(call, request, ct).ConfigureAwait(false);
            await call.RequestStream.CompleteAsync().ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.AlreadyExists)
        {
            // Content-addressed: what is there is what we have.
        }
    }
}

/// <summary>A blob in the content store.</summary>
internal readonly record struct Blob(string Digest, long Size, bool IsGzip);
