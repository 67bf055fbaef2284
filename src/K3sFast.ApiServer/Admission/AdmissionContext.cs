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
    private Reinvocation? _reinvocation;

    internal required AdmissionOperation Operation { get; init; }

    /// <summary>The resource in its storage version.</summary>
    internal required ResourceInfo Resource { get; init; }

    /// <summary>"" or the subresource.</summary>
    internal string Subresource { get; init; } = "";

    /// <summary>What the object is: the resource's own kind, or that of the subresource (Scale, Binding, Eviction, TokenRequest, PodExecOptions...).</summary>
    internal TypeSchema Kind { get => field ?? Resource.Type; init; }

    internal required string Namespace { get; init; }

    /// <summary>The object's name; may be "" on create with generateName.</summary>
    internal string Name { get; set; } = "";

    internal required UserInfo User { get; init; }

    /// <summary>The new object; undefined for deletes.</summary>
    internal ApiNode Object { get; set; }

    /// <summary>The stored object; undefined for creates.</summary>
    internal ApiNode OldObject { get; set; }

    internal bool IsDryRun { get; init; }

    /// <summary>The request that warnings and audit annotations belong to; null for the server's own writes.</summary>
    internal ApiCall? Call { get; init; }

    /// <summary>Whether and by whom mutating admission is gone through twice.</summary>
    internal Reinvocation Reinvocation => _reinvocation ??= new Reinvocation();

    internal bool IsReinvocationWanted => _reinvocation is { IsWanted: true };

    /// <summary>A request that makes an object which is not stored: a binding, an eviction, a token, a review.</summary>
    internal static AdmissionContext OfCreate(ApiCall call, ResourceInfo resource, string subresource, string name, TypeSchema kind, ApiNode obj, bool isDryRun = false) => new()
    {
        Operation = AdmissionOperation.Create, Resource = resource, Subresource = subresource, Kind = kind, Namespace = call.Info.NamespaceText, Name = name, User = call.User,
        Object = obj, IsDryRun = isDryRun, Call = call,
    };

    /// <summary>The same request with its objects in another form.</summary>
    internal AdmissionContext In(TypeSchema kind, ApiNode obj, ApiNode old) => new()
    {
        Operation = Operation, Resource = Resource, Subresource = Subresource, Kind = kind, Namespace = Namespace, Name = Name, User = User, Object = obj, OldObject = old,
        IsDryRun = IsDryRun, Call = Call,
    };

    internal bool IsCreate => Operation == AdmissionOperation.Create;

    internal bool Is(string group, string resource) => Resource.Resource == resource && Resource.Group == group;

    /// <summary>True for a pod that is written whole (not one of its subresources).</summary>
    internal bool IsPod => Subresource.Length == 0 && Is("", "pods") && Operation is AdmissionOperation.Create or AdmissionOperation.Update;

    /// <summary>Tells the client something with the answer; twice the same is told once.</summary>
    internal void AddWarning(string text) => Call?.AddWarning(text);

    /// <summary>Tells the audit log something.</summary>
    internal void Annotate(string key, string value) => Call?.Annotate(key, value);

    /// <summary>A refusal of this request: 403 with upstream's form.</summary>
    internal ApiStatusException Forbid(string why) => ApiStatus.Forbidden(Resource.Group, Resource.Resource, ShownName, why).ToException();

    /// <summary>A refusal with several reasons, joined as upstream joins them.</summary>
    internal ApiStatusException Forbid(IReadOnlyList<string> reasons)
    {
        var distinct = reasons.Distinct().ToList();
        return Forbid(distinct.Count == 1 ? distinct[0] : $"[{string.Join(", ", distinct)}]");
    }

    private string ShownName
    {
        get
        {
            if (Name.Length > 0)
                return Name;
            var metadata = Object["metadata"u8];
            return !metadata["name"u8].Utf8.IsEmpty ? metadata["name"u8].AsString()
                : !metadata["generateName"u8].Utf8.IsEmpty ? metadata["generateName"u8].AsString() : "Unknown";
        }
    }
}
