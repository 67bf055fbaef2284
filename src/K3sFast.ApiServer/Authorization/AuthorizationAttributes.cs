using System.Text;
using RequestVerb = K3sFast.ApiServer.Verb;

namespace K3sFast.ApiServer;

/// <summary>What authorizers decide on: who, which verb, and either a resource or a path. Spans of the request's own bytes; lives on the stack.</summary>
internal readonly ref struct AuthorizationAttributes
{
    internal required UserInfo User { get; init; }

    /// <summary>A verb of <see cref="Verb"/>, or one that only rules know, such as impersonate or bind.</summary>
    internal required ReadOnlySpan<byte> Verb { get; init; }

    internal bool IsResourceRequest { get; init; }

    internal ReadOnlySpan<byte> Group { get; init; }

    internal ReadOnlySpan<byte> Version { get; init; }

    internal ReadOnlySpan<byte> Resource { get; init; }

    internal ReadOnlySpan<byte> Subresource { get; init; }

    internal ReadOnlySpan<byte> Namespace { get; init; }

    internal ReadOnlySpan<byte> Name { get; init; }

    internal ReadOnlySpan<byte> Path { get; init; }

    /// <summary>The field selector of a list, watch or deletecollection, still escaped; the node authorizer and webhooks look at it.</summary>
    internal ReadOnlySpan<byte> FieldSelector { get; init; }

    /// <summary>The label selector likewise; webhooks look at it.</summary>
    internal ReadOnlySpan<byte> LabelSelector { get; init; }

    internal static AuthorizationAttributes Of(in RequestInfo info, UserInfo user) => Of(info, user, info.Verb);

    /// <summary>The same request as if it had another verb.</summary>
    internal static AuthorizationAttributes Of(in RequestInfo info, UserInfo user, Verb verb)
    {
        ReadOnlySpan<byte> fields = default, labels = default;
        if (info.Verb is RequestVerb.List or RequestVerb.Watch or RequestVerb.DeleteCollection && !info.Query.IsEmpty)
        {
            info.TryGetQuery("fieldSelector"u8, out fields);
            info.TryGetQuery("labelSelector"u8, out labels);
        }
        return new AuthorizationAttributes
        {
            User = user,
            Verb = verb.Utf8(),
            IsResourceRequest = info.IsResourceRequest,
            Group = info.Group,
            Version = info.Version,
            Resource = info.Resource,
            Subresource = info.Subresource,
            Namespace = info.Namespace,
            Name = info.Name,
            Path = info.Path,
            FieldSelector = fields,
            LabelSelector = labels,
        };
    }

    /// <summary>A copy that outlives the request's bytes.</summary>
    internal AuthorizationRequest ToOwned() => new(
        User, Verb.ToArray(), IsResourceRequest, Group.ToArray(), Version.ToArray(), Resource.ToArray(), Subresource.ToArray(), Namespace.ToArray(), Name.ToArray(), Path.ToArray(),
        FieldSelector.ToArray(), LabelSelector.ToArray());

    /// <summary>The refusal's words, as upstream's forbidden filter says them.</summary>
    internal string Describe()
    {
        var user = K3sFast.ApiMachinery.GoText.Quote(User.Name);
        var verb = Encoding.UTF8.GetString(Verb);
        if (!IsResourceRequest)
            return $"User {user} cannot {verb} path {K3sFast.ApiMachinery.GoText.Quote(Path)}";
        var resource = Encoding.UTF8.GetString(Resource);
        if (!Subresource.IsEmpty)
            resource = $"{resource}/{Encoding.UTF8.GetString(Subresource)}";
        var where = Namespace.IsEmpty ? "at the cluster scope" : $"in the namespace \"{Encoding.UTF8.GetString(Namespace)}\"";
        return $"User {user} cannot {verb} resource \"{resource}\" in API group \"{Encoding.UTF8.GetString(Group)}\" {where}";
    }
}

/// <summary>What authorizers decide on, kept: for those that ask somebody.</summary>
internal sealed record AuthorizationRequest(
    UserInfo User, byte[] Verb, bool IsResourceRequest, byte[] Group, byte[] Version, byte[] Resource, byte[] Subresource, byte[] Namespace, byte[] Name, byte[] Path,
    byte[] FieldSelector, byte[] LabelSelector)
{
    internal AuthorizationAttributes Attributes() => new()
    {
        User = User, Verb = Verb, IsResourceRequest = IsResourceRequest, Group = Group, Version = Version, Resource = Resource, Subresource = Subresource,
        Namespace = Namespace, Name = Name, Path = Path, FieldSelector = FieldSelector, LabelSelector = LabelSelector,
    };
}
