using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Who owns what a write changes: a manager's name, and the version of the resource that it speaks.</summary>
internal sealed class FieldOwner(FieldManager fields, string manager, ResourceInfo version, TimeProvider clock)
{
    /// <summary>The API server itself, where it writes objects of its own.</summary>
    internal const string ApiServerManager = "kube-apiserver";

    /// <summary>The version of the resource that the owner speaks.</summary>
    internal ResourceInfo Version => version;

    /// <summary>The owner of what a request changes.</summary>
    internal static FieldOwner Of(ResourceEndpoint endpoint, string subresource, string manager, TimeProvider clock) =>
        new(endpoint.Storage!.Fields.For(endpoint.Info, subresource), manager, endpoint.Info, clock);

    /// <summary>The API server as owner, in the storage version.</summary>
    internal static FieldOwner ApiServer(ResourceStorage storage, TimeProvider clock) =>
        new(storage.Fields.For(storage.Info, ""), ApiServerManager, storage.Info, clock);

    /// <summary>Notes in a new or changed object (in the storage version) whose its fields are; the stored one is undefined for a new object.</summary>
    internal void Note(ApiNode old, ApiNode obj, ResourceInfo stored)
    {
        RestStrategy.CompleteForOwners(obj, stored);
        if (ReferenceEquals(version, stored))
        {
            fields.Update(old, obj, manager, clock.GetUtcNow());
            return;
        }
        using var versioned = StorageVersions.Convert(obj, stored, version);
        using var versionedOld = old.IsDefined ? StorageVersions.Convert(old, stored, version) : null;
        fields.Update(versionedOld?.Root ?? default, versioned.Root, manager, clock.GetUtcNow());
        var list = versioned.Root["metadata"u8]["managedFields"u8];
        if (list.IsDefined)
            obj["metadata"u8].Set("managedFields"u8, list);
        else
            obj["metadata"u8].Remove("managedFields"u8);
    }
}
