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

    internal ReadOnlySpan<byte> Resource { get; init; }

    internal ReadOnlySpan<byte> Subresource { get; init; }

    internal ReadOnlySpan<byte> Namespace { get; init; }

    internal ReadOnlySpan<byte> Name { get; init; }

    internal ReadOnlySpan<byte> Path { get; init; }

    /// <summary>The raw field selector of a list or watch; the node authorizer looks at it.</summary>
    internal ReadOnlySpan<byte> FieldSelector { get; init; }

    internal static AuthorizationAttributes Of(in RequestInfo info, UserInfo user) => Of(info, user, info.Verb);

    /// <summary>The same request as if it had another verb.</summary>
    internal static AuthorizationAttributes Of(in RequestInfo info, UserInfo user, Verb verb)
    {
        ReadOnlySpan<byte> selector = default;
        if (info.Verb is RequestVerb.List or RequestVerb.Watch or RequestVerb.DeleteCollection && !info.IsWatchPath)
            info.TryGetQuery("fieldSelector"u8, out selector);
        return new AuthorizationAttributes
        {
            User = user,
            Verb = verb.Utf8(),
            IsResourceRequest = info.IsResourceRequest,
            Group = info.Group,
            Resource = info.Resource,
            Subresource = info.Subresource,
            Namespace = info.Namespace,
            Name = info.Name,
            Path = info.Path,
            FieldSelector = selector,
        };
    }

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
