using System.Buffers;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Values that another API server stored (k3s stores protobuf in an envelope, in the version that its release preferred) as this one would have stored them:
/// canonical JSON of the storage version, with the defaults of fields that are younger than the value.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class ForeignValues
{
    private readonly Dictionary<(string ApiVersion, string Kind), (ResourceInfo Version, ResourceStorage Storage)> _kinds = [];

    internal ForeignValues(ResourceCatalog catalog)
    {
        var storages = catalog.Storages.ToDictionary(static storage => storage.Info.EtcdPrefix);
        foreach (var resource in catalog.Schema.Resources)
        {
            if (storages.TryGetValue(resource.EtcdPrefix, out var storage))
                _kinds.TryAdd((resource.ApiVersion, resource.Kind), (resource, storage));
        }
    }

    /// <summary>Writes the JSON of a value.</summary>
    /// <exception cref="FormatException">It is no object in protobuf, or one that has no place under this key.</exception>
    internal void Read(string key, ReadOnlySpan<byte> value, IBufferWriter<byte> json)
    {
        try
        {
            using var document = ProtobufCodec.Decode(value, Schema.BuiltIn);
            var (apiVersion, kind) = (document.Root["apiVersion"u8].AsString(), document.Root["kind"u8].AsString());
            if (!_kinds.TryGetValue((apiVersion, kind), out var known) || !key.StartsWith(known.Storage.KeyPrefix, StringComparison.Ordinal))
                throw new FormatException($"a {kind} of {apiVersion} has no place under {key}");
            Defaulting.Apply(document.Root, known.Version);
            VersionConversion.Convert(document.Root, known.Version, known.Storage.Info);
            JsonCodec.Encode(document.Root, known.Storage.Info.Type, json);
        }
        catch (ApiStatusException unreadable)
        {
            throw new FormatException(unreadable.Status.Message, unreadable);
        }
    }
}
