using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>What an admission plugin is asked about.</summary>
internal enum AdmissionOperation : byte
{
    Create,
    Update,
    Delete,
    Connect,
}

/// <summary>One write on its way to the store, as admission plugins see it. Lives for one request.</summary>
internal sealed class AdmissionContext
{
    internal required AdmissionOperation Operation { get; init; }

    /// <summary>The resource in its storage version.</summary>
    internal required ResourceInfo Resource { get; init; }

    /// <summary>"" or the subresource.</summary>
    internal string Subresource { get; init; } = "";

    internal required string Namespace { get; init; }

    /// <summary>The object's name; may be "" on create with generateName.</summary>
    internal string Name { get; set; } = "";

    internal required UserInfo User { get; init; }

    /// <summary>The new object; undefined for deletes.</summary>
    internal ApiNode Object { get; set; }

    /// <summary>The stored object; undefined for creates.</summary>
    internal ApiNode OldObject { get; set; }

    internal bool IsDryRun { get; init; }

    internal bool Is(string group, string resource) => Resource.Resource == resource && Resource.Group == group;

    /// <summary>A refusal of this request: 403 with upstream's form.</summary>
    internal ApiStatusException Forbid(string why) => ApiStatus.Forbidden(
        Resource.Group, Resource.Resource, Name.Length > 0 ? Name : Object["metadata"u8]["generateName"u8].Utf8.IsEmpty ? Name : "Unknown", why).ToException();
}

/// <summary>
/// One admission plugin. Mutating runs before validation of the object, validating after it; both in upstream's order over all plugins.
/// </summary>
/// <remarks>Any thread. Plugins read the watch caches and never wait.</remarks>
internal abstract class AdmissionPlugin
{
    internal virtual void Mutate(AdmissionContext context)
    {
    }

    internal virtual void Validate(AdmissionContext context)
    {
    }
}

/// <summary>The plugins in order.</summary>
internal sealed class AdmissionChain(params AdmissionPlugin[] plugins)
{
    internal void Mutate(AdmissionContext context)
    {
        foreach (var plugin in plugins)
            plugin.Mutate(context);
    }

    internal void Validate(AdmissionContext context)
    {
        foreach (var plugin in plugins)
            plugin.Validate(context);
    }
}
