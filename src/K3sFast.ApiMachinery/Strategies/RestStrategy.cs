namespace K3sFast.ApiMachinery;

/// <summary>
/// What a resource's registry strategy does upstream between admission and validation: it drops what a client may not set, keeps
/// what an update may not touch, and counts generations. Works on the document in place.
/// </summary>
public static partial class RestStrategy
{
    /// <summary>The clock behind times that strategies write (phase transitions, conditions). Tests replace it.</summary>
    internal static TimeProvider Clock { get; set; } = TimeProvider.System;

    /// <summary>Whether PUT on a name that does not exist creates it.</summary>
    public static bool AllowCreateOnUpdate(ResourceInfo resource) => ResourceStrategy.For(resource).CreateOnUpdate;

    /// <summary>Whether an update without metadata.resourceVersion is applied to whatever is stored.</summary>
    public static bool AllowUnconditionalUpdate(ResourceInfo resource) => ResourceStrategy.For(resource).UnconditionalUpdate;

    /// <summary>
    /// Prepares an object for creation: status dropped where the kind has a status subresource, generation started, and what the
    /// kind sets by itself (pod phase and QoS class, job selector, namespace finalizer, ...).
    /// </summary>
    /// <remarks>Call after mutating admission, with metadata.name, namespace, uid and creationTimestamp already set.</remarks>
    public static void PrepareForCreate(ApiNode obj, ResourceInfo resource)
    {
        var strategy = ResourceStrategy.For(resource);
        var metadata = obj.GetOrAddObject("metadata"u8);
        metadata.Remove("deletionTimestamp"u8);
        metadata.Remove("deletionGracePeriodSeconds"u8);
        metadata.Remove("selfLink"u8);
        if (strategy.Generation is GenerationRule.None or GenerationRule.SpecFromZero)
        {
            // Kinds without a generation keep what the client sent, as upstream does.
        }
        else
        {
            metadata.Set("generation"u8, 1);
        }
        if (strategy.HasStatus && !IsStatusSetAtCreate(resource))
            obj.Remove("status"u8);
        DisabledFields.Drop(obj, default, resource);
        PrepareKindForCreate(obj, resource);
    }

    /// <summary>
    /// Prepares an update: <paramref name="subresource"/> "" keeps the stored status, "status" keeps the stored spec, others keep all
    /// but their own part; system metadata stays; generation grows by one when the desired state changed.
    /// </summary>
    /// <param name="obj">The new object; changed in place.</param>
    /// <param name="old">The stored object; only read.</param>
    /// <param name="resource">The resource of both.</param>
    /// <param name="subresource">Empty, or the subresource's name (status, ephemeralcontainers, resize, finalize, approval).</param>
    public static void PrepareForUpdate(ApiNode obj, ApiNode old, ResourceInfo resource, string subresource)
    {
        var strategy = ResourceStrategy.For(resource);
        KeepSystemMetadata(obj.GetOrAddObject("metadata"u8), old["metadata"u8]);
        switch (subresource)
        {
            case "":
                if (strategy.HasStatus)
                    Keep(obj, old, "status"u8);
                DisabledFields.Drop(obj, old, resource);
                PrepareKindForUpdate(obj, old, resource);
                break;
            case "status":
                PrepareStatusUpdate(obj, old, resource, strategy);
                break;
            default:
                PrepareSubresourceUpdate(obj, old, resource, subresource);
                break;
        }
        if (subresource != "status" && DesiredStateChanged(obj, old, resource, strategy))
            obj["metadata"u8].Set("generation"u8, GenerationOf(old) + 1);
    }

    private static void PrepareStatusUpdate(ApiNode obj, ApiNode old, ResourceInfo resource, ResourceStrategy strategy)
    {
        if (strategy.IsCustom)
        {
            KeepAllBut(obj, old, "status"u8, "metadata"u8);
        }
        else
        {
            Keep(obj, old, "spec"u8);
        }
        if (strategy.StatusMetadata == StatusMetadata.Reset)
            ResetMetadataForStatus(obj["metadata"u8], old["metadata"u8]);
        PrepareKindStatus(obj, old, resource);
    }

    private static bool DesiredStateChanged(ApiNode obj, ApiNode old, ResourceInfo resource, ResourceStrategy strategy)
    {
        var type = resource.Type;
        switch (strategy.Generation)
        {
            case GenerationRule.Spec or GenerationRule.SpecFromZero:
                return !SemanticEquality.MemberEqual(obj, old, "spec"u8, type);
            case GenerationRule.SpecOrAnnotations:
                return !SemanticEquality.MemberEqual(obj, old, "spec"u8, type)
                    || !MapsEqual(obj["metadata"u8]["annotations"u8], old["metadata"u8]["annotations"u8]);
            case GenerationRule.Template:
                return !SemanticEquality.MemberEqual(obj, old, "template"u8, type);
            case GenerationRule.Webhooks:
                return !SemanticEquality.MemberEqual(obj, old, "webhooks"u8, type);
            case GenerationRule.ContentOrLabels:
                return ContentChanged(obj, old, type, strategy) || !MapsEqual(obj["metadata"u8]["labels"u8], old["metadata"u8]["labels"u8]);
            case GenerationRule.Content:
                return ContentChanged(obj, old, type, strategy);
            default:
                return false;
        }
    }

    private static bool ContentChanged(ApiNode obj, ApiNode old, TypeSchema? type, ResourceStrategy strategy)
    {
        foreach (var member in obj.Members)
            if (IsContent(member.Name, strategy) && !SemanticEquality.MemberEqual(obj, old, member.Name, type))
                return true;
        foreach (var member in old.Members)
            if (IsContent(member.Name, strategy) && !obj[member.Name].IsDefined && !SemanticEquality.MemberEqual(obj, old, member.Name, type))
                return true;
        return false;
    }

    private static bool IsContent(ReadOnlySpan<byte> name, ResourceStrategy strategy) =>
        !name.SequenceEqual("metadata"u8) && !name.SequenceEqual("apiVersion"u8) && !name.SequenceEqual("kind"u8)
        && !(strategy.HasStatus && name.SequenceEqual("status"u8));

    private static bool MapsEqual(ApiNode a, ApiNode b) => a.Count == b.Count && (a.Count == 0 || a.DeepEquals(b));

    private static long GenerationOf(ApiNode obj) => obj["metadata"u8]["generation"u8].TryGetInt64(out long generation) ? generation : 0;

    // The client may leave system fields out; what it sends different from what is stored is for validation to refuse.
    private static void KeepSystemMetadata(ApiNode metadata, ApiNode stored)
    {
        metadata.Remove("selfLink"u8);
        Keep(metadata, stored, "generation"u8);
        if (IsEmpty(metadata["uid"u8]))
            Keep(metadata, stored, "uid"u8);
        Keep(metadata, stored, "creationTimestamp"u8);
        if (IsEmpty(metadata["deletionTimestamp"u8]))
            Keep(metadata, stored, "deletionTimestamp"u8);
        if (IsEmpty(metadata["deletionGracePeriodSeconds"u8]))
            Keep(metadata, stored, "deletionGracePeriodSeconds"u8);
    }

    private static void ResetMetadataForStatus(ApiNode metadata, ApiNode stored)
    {
        Keep(metadata, stored, "labels"u8);
        Keep(metadata, stored, "annotations"u8);
        Keep(metadata, stored, "finalizers"u8);
        Keep(metadata, stored, "ownerReferences"u8);
    }

    /// <summary>Makes a member what it is in the stored object, also when that is "absent".</summary>
    private static void Keep(ApiNode obj, ApiNode old, ReadOnlySpan<byte> name)
    {
        var stored = old[name];
        if (stored.IsNullOrUndefined)
            obj.Remove(name);
        else
            obj.Set(name, stored);
    }

    private static void KeepAllBut(ApiNode obj, ApiNode old, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second)
    {
        foreach (var member in old.Members)
            if (!member.Name.SequenceEqual(first) && !member.Name.SequenceEqual(second))
                obj.Set(member.Name, member.Value);
        bool again = true;
        while (again)
        {
            again = false;
            foreach (var member in obj.Members)
            {
                if (member.Name.SequenceEqual(first) || member.Name.SequenceEqual(second) || old[member.Name].IsDefined)
                    continue;
                obj.Remove(member.Name);
                again = true;
                break;
            }
        }
    }

    private static bool IsEmpty(ApiNode node) => node.IsNullOrUndefined || node.Kind == NodeKind.String && node.Utf8.IsEmpty;

    // Nodes register with their status; CSIDriver and others without the subresource never get here.
    private static bool IsStatusSetAtCreate(ResourceInfo resource) => resource.Group.Length == 0 && resource.Resource == "nodes";
}
