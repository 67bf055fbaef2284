using System.Formats.Tar;
using System.IO.Compression;
using K3sFast.Containerd.Api;

namespace K3sFast.Containerd;

/// <summary>Imports one image archive (docker-archive or OCI layout, plain or gzip) into containerd in a single pass over it.</summary>
/// <remarks>
/// Layers are streamed as they come; JSON documents are held until the end, because they say what the layers were.
/// Nothing is unpacked: CRI does that when the first container needs it.
/// </remarks>
internal sealed class ImageArchive(ContainerdConnection connection, ContentStore store)
{
    // A held document: manifests and configs are kilobytes. All of one archive together: thousands of images.
    private const long MaxDocumentBytes = 4 << 20;
    private const long MaxHeldBytes = 64 << 20;

    private readonly Dictionary<string, byte[]> _documents = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Blob> _blobs = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _links = new(StringComparer.Ordinal);
    private long _heldBytes;

    /// <returns>Full names of the images, each now known to containerd and to CRI.</returns>
    /// <exception cref="InvalidDataException">Not an image archive, or a damaged one.</exception>
    public async Task<List<string>> ImportAsync(Stream file, CancellationToken ct)
    {
        var plain = await OpenCompressedAsync(file, ct).ConfigureAwait(false);
        await using (plain.ConfigureAwait(false))
        {
            var reader = new TarReader(plain, leaveOpen: true);
            await using (reader.ConfigureAwait(false))
            {
                while (await reader.GetNextEntryAsync(copyData: false, ct).ConfigureAwait(false) is { } entry)
                    await TakeEntryAsync(entry, ct).ConfigureAwait(false);
            }
        }
        // Docker 25 and later write both; the OCI half carries the digests that registries know.
        if (_documents.TryGetValue("index.json", out var index) && _documents.ContainsKey("oci-layout"))
            return await ImportOciAsync(index, ct).ConfigureAwait(false);
        if (_documents.TryGetValue("manifest.json", out var manifest))
            return await ImportDockerAsync(manifest, ct).ConfigureAwait(false);
        throw new InvalidDataException("it has neither manifest.json (docker save) nor index.json (OCI layout)");
    }

    /// <summary>Makes <paramref name="name"/> refer to a manifest, newly or instead of what it referred to.</summary>
    public async Task PutImageAsync(string name, string mediaType, Blob target, CancellationToken ct)
    {
        var image = new Image { Name = name, Target = new() { MediaType = mediaType, Digest = target.Digest, Size = target.Size } };
        // managed: CRI lists it. pinned: the kubelet's image collector leaves it alone (containerd 1.7 and later).
        image.Labels["io.cri-containerd.image"] = "managed";
        image.Labels["io.cri-containerd.pinned"] = "pinned";
        try
        {
            await connection.Images.CreateAsync(new CreateImageRequest { Image = image }, ContainerdConnection.Headers(), cancellationToken: ct).ConfigureAwait(false);
        }
        catch (Grpc.Core.RpcException e) when (e.StatusCode == Grpc.Core.StatusCode.AlreadyExists)
        {
            await connection.Images.UpdateAsync(new UpdateImageRequest { Image = image }, ContainerdConnection.Headers(), cancellationToken: ct).ConfigureAwait(false);
        }
    }

    private static async Task<Stream> OpenCompressedAsync(Stream file, CancellationToken ct)
    {
        var magic = new byte[4];
        var read = await file.ReadAtLeastAsync(magic, magic.Length, throwOnEndOfStream: false, ct).ConfigureAwait(false);
        file.Position = 0;
        if (read >= 2 && magic[0] == 0x1f && magic[1] == 0x8b)
            return new GZipStream(file, CompressionMode.Decompress, leaveOpen: true);
        // RFC 8878 §3.1.1; LZ4 frame; bzip2.
        if (read == 4 && (magic.AsSpan().SequenceEqual((byte[])[0x28, 0xb5, 0x2f, 0xfd]) || magic.AsSpan().SequenceEqual((byte[])[0x04, 0x22, 0x4d, 0x18]) || magic.AsSpan(0, 3).SequenceEqual("BZh"u8)))
            throw new InvalidDataException("zstd, lz4 and bzip2 archives are not in this version of k3sfast: decompress it, or use gzip");
        return new BufferedStream(file, 1 << 16);
    }

    private async Task TakeEntryAsync(TarEntry entry, CancellationToken ct)
    {
        var name = Clean(entry.Name);
        if (entry.EntryType is TarEntryType.SymbolicLink or TarEntryType.HardLink)
        {
            var directory = entry.EntryType == TarEntryType.SymbolicLink ? Path.GetDirectoryName(name) ?? "" : "";
            _links[name] = Clean(Path.GetFullPath(Path.Combine("/", directory, entry.LinkName)));
            return;
        }
        if (entry.DataStream is not { } data)
            return;
        var length = entry.Length;
        var peek = new byte[1];
        var first = await data.ReadAsync(peek, ct).ConfigureAwait(false);
        if (length <= MaxDocumentBytes && first == 1 && peek[0] is (byte)'{' or (byte)'[')
        {
            if ((_heldBytes += length) > MaxHeldBytes)
                throw new InvalidDataException("it holds more than 64 MiB of JSON documents");
            var document = new byte[length];
            document[0] = peek[0];
            await data.ReadExactlyAsync(document.AsMemory(1), ct).ConfigureAwait(false);
            _documents[name] = document;
            return;
        }
        const string Sha256 = "blobs/sha256/";
        var expected = name.StartsWith(Sha256, StringComparison.Ordinal) ? "sha256:" + name[Sha256.Length..] : "";
        if (expected.Length > 0 && await store.HasAsync(expected, ct).ConfigureAwait(false))
        {
            _blobs[name] = new(expected, length, false);
            return;
        }
        using var whole = new PrefixedStream(peek.AsMemory(0, first), data);
        _blobs[name] = await store.WriteAsync(whole, length, expected, ct).ConfigureAwait(false);
    }

    private async Task<List<string>> ImportDockerAsync(byte[] manifestJson, CancellationToken ct)
    {
        var names = new List<string>();
        foreach (var entry in ImageManifests.ReadDocker(manifestJson))
        {
            var config = await BlobOfAsync(entry.Config, ct).ConfigureAwait(false);
            var layers = new List<Blob>();
            foreach (var layer in entry.Layers)
                layers.Add(await BlobOfAsync(layer, ct).ConfigureAwait(false));
            var manifest = await WriteManifestAsync(config, layers, ct).ConfigureAwait(false);
            foreach (var tag in entry.Tags)
            {
                var name = ImageName.Normalize(tag);
                await PutImageAsync(name, ImageManifests.DockerManifest, manifest, ct).ConfigureAwait(false);
                names.Add(name);
            }
        }
        return names;
    }

    /// <summary>Writes a docker manifest with the labels that keep its children.</summary>
    public Task<Blob> WriteManifestAsync(Blob config, IReadOnlyList<Blob> layers, CancellationToken ct)
    {
        var labels = new Dictionary<string, string> { ["containerd.io/gc.ref.content.config"] = config.Digest };
        for (var i = 0; i < layers.Count; i++)
            labels[$"containerd.io/gc.ref.content.l.{i}"] = layers[i].Digest;
        return store.WriteAsync(ImageManifests.WriteDocker(config, layers), labels, ct);
    }

    private async Task<List<string>> ImportOciAsync(byte[] indexJson, CancellationToken ct)
    {
        var names = new List<string>();
        foreach (var descriptor in ImageManifests.TryReadIndex(indexJson) ?? [])
        {
            var target = await WriteOciTreeAsync(descriptor, depth: 0, ct).ConfigureAwait(false);
            if (target is null || descriptor.Name.Length == 0)
                continue;
            var name = ImageName.Normalize(descriptor.Name);
            await PutImageAsync(name, descriptor.MediaType, target.Value, ct).ConfigureAwait(false);
            names.Add(name);
        }
        return names;
    }

    /// <summary>Writes a manifest or an index after its children. Null when the archive leaves it out, as multi-platform archives may.</summary>
    private async Task<Blob?> WriteOciTreeAsync(ImageManifests.OciDescriptor descriptor, int depth, CancellationToken ct)
    {
        var path = PathOf(descriptor.Digest);
        if (!_documents.TryGetValue(path, out var json) || depth > 4)
            return null;
        var labels = new Dictionary<string, string>();
        if (ImageManifests.TryReadIndex(json) is { } children)
        {
            for (var i = 0; i < children.Count; i++)
            {
                if (await WriteOciTreeAsync(children[i], depth + 1, ct).ConfigureAwait(false) is not null)
                    labels[$"containerd.io/gc.ref.content.m.{i}"] = children[i].Digest;
            }
        }
        else if (ImageManifests.TryReadManifest(json) is { } parts)
        {
            for (var i = 0; i < parts.Count; i++)
            {
                await BlobOfAsync(PathOf(parts[i].Digest), ct).ConfigureAwait(false);
                labels[i == 0 ? "containerd.io/gc.ref.content.config" : $"containerd.io/gc.ref.content.l.{i - 1}"] = parts[i].Digest;
            }
        }
        return await store.WriteAsync(json, labels, ct).ConfigureAwait(false);
    }

    private async Task<Blob> BlobOfAsync(string path, CancellationToken ct)
    {
        path = Clean(path);
        for (var i = 0; i < 8 && _links.TryGetValue(path, out var target); i++)
            path = target;
        if (_blobs.TryGetValue(path, out var blob))
            return blob;
        if (_documents.TryGetValue(path, out var document))
            return _blobs[path] = await store.WriteAsync(document, new Dictionary<string, string>(), ct).ConfigureAwait(false);
        throw new InvalidDataException($"{path} is named by its manifest and not in it");
    }

    private static string PathOf(string digest) => "blobs/" + digest.Replace(':', '/');

    private static string Clean(string path)
    {
        while (path.StartsWith("./", StringComparison.Ordinal))
            path = path[2..];
        return path.TrimStart('/');
    }
}
