using System.Text;

namespace K3sFast.ApiServer;

/// <summary>One rule of an audit policy. Immutable; matching allocates nothing.</summary>
internal sealed class AuditRule
{
    internal required byte[][] Users { get; init; }

    internal required string[] UserGroups { get; init; }

    internal required byte[][] Verbs { get; init; }

    internal required byte[][] Namespaces { get; init; }

    internal required GroupResources[] Resources { get; init; }

    internal required byte[][] NonResourceUrls { get; init; }

    internal required AuditVerdict Verdict { get; init; }

    internal bool Matches(in AuthorizationAttributes attributes)
    {
        if (Users.Length > 0 && !ContainsText(Users, attributes.User.Name) || UserGroups.Length > 0 && !HasGroup(attributes.User)
            || Verbs.Length > 0 && !Contains(Verbs, attributes.Verb))
            return false;
        if (Namespaces.Length > 0 || Resources.Length > 0)
            return attributes.IsResourceRequest && (Namespaces.Length == 0 || Contains(Namespaces, attributes.Namespace)) && MatchesResource(attributes);
        return NonResourceUrls.Length == 0 || !attributes.IsResourceRequest && MatchesPath(attributes.Path);
    }

    private bool MatchesResource(in AuthorizationAttributes attributes)
    {
        if (Resources.Length == 0)
            return true;
        foreach (var group in Resources)
        {
            if (!(group.Group is [(byte)'*'] || attributes.Group.SequenceEqual(group.Group)))
                continue;
            if (group.Resources.Length == 0)
                return true;
            if (group.Names.Length > 0 && !Contains(group.Names, attributes.Name))
                continue;
            foreach (var resource in group.Resources)
            {
                if (MatchesResource(resource, attributes.Resource, attributes.Subresource))
                    return true;
            }
        }
        return false;
    }

    // "*" is everything, "pods" the resource itself, "pods/log" one subresource, "*/scale" one of all, "pods/*" the resource with all of its own.
    private static bool MatchesResource(ReadOnlySpan<byte> pattern, ReadOnlySpan<byte> resource, ReadOnlySpan<byte> subresource)
    {
        if (pattern.SequenceEqual("*"u8))
            return true;
        var slash = pattern.IndexOf((byte)'/');
        if (slash < 0)
            return subresource.IsEmpty && pattern.SequenceEqual(resource);
        ReadOnlySpan<byte> left = pattern[..slash], right = pattern[(slash + 1)..];
        if (right.SequenceEqual("*"u8))
            return left.SequenceEqual(resource);
        return !subresource.IsEmpty && right.SequenceEqual(subresource) && (left.SequenceEqual("*"u8) || left.SequenceEqual(resource));
    }

    private bool MatchesPath(ReadOnlySpan<byte> path)
    {
        foreach (var url in NonResourceUrls)
        {
            if (path.SequenceEqual(url) || url.Length > 0 && url[^1] == '*' && path.StartsWith(url.AsSpan(0, url.Length - 1)))
                return true;
        }
        return false;
    }

    private bool HasGroup(UserInfo user)
    {
        for (var i = 0; i < user.Groups.Count; i++)
        {
            if (Array.IndexOf(UserGroups, user.Groups[i]) >= 0)
                return true;
        }
        return false;
    }

    private static bool Contains(byte[][] words, ReadOnlySpan<byte> word)
    {
        foreach (var candidate in words)
        {
            if (word.SequenceEqual(candidate))
                return true;
        }
        return false;
    }

    private static bool ContainsText(byte[][] words, string word)
    {
        Span<byte> bytes = stackalloc byte[512];
        return Encoding.UTF8.TryGetBytes(word, bytes, out var length) ? Contains(words, bytes[..length]) : Contains(words, Encoding.UTF8.GetBytes(word));
    }

    /// <summary>Resources of one group ("*" = all groups), and the names that count among them.</summary>
    internal sealed record GroupResources(byte[] Group, byte[][] Resources, byte[][] Names);
}
