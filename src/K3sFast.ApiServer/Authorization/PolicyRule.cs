using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>One rule of a role, ready to be matched against bytes. Immutable. Matching allocates nothing.</summary>
internal sealed class PolicyRule
{
    internal required byte[][] Verbs { get; init; }

    internal required byte[][] ApiGroups { get; init; }

    internal required byte[][] Resources { get; init; }

    internal required byte[][] ResourceNames { get; init; }

    internal required byte[][] NonResourceUrls { get; init; }

    /// <summary>Reads a rule off a role's JSON.</summary>
    internal static PolicyRule Read(ApiNode rule) => new()
    {
        Verbs = Strings(rule["verbs"u8]),
        ApiGroups = Strings(rule["apiGroups"u8]),
        Resources = Strings(rule["resources"u8]),
        ResourceNames = Strings(rule["resourceNames"u8]),
        NonResourceUrls = Strings(rule["nonResourceURLs"u8]),
    };

    internal bool Allows(in AuthorizationAttributes attributes)
    {
        if (!Contains(Verbs, attributes.Verb))
            return false;
        if (!attributes.IsResourceRequest)
            return MatchesPath(attributes.Path);
        return Contains(ApiGroups, attributes.Group)
            && MatchesResource(attributes.Resource, attributes.Subresource)
            && (ResourceNames.Length == 0 || IndexOf(ResourceNames, attributes.Name) >= 0);
    }

    /// <summary>True if every single thing that <paramref name="wanted"/> allows is allowed by one of <paramref name="owned"/>.</summary>
    internal static bool Covers(IReadOnlyList<PolicyRule> owned, PolicyRule wanted)
    {
        foreach (var verb in wanted.Verbs)
        {
            foreach (var url in wanted.NonResourceUrls)
            {
                if (!owned.Any(rule => Contains(rule.Verbs, verb) && rule.CoversPath(url)))
                    return false;
            }
            foreach (var group in wanted.ApiGroups)
            {
                foreach (var resource in wanted.Resources)
                {
                    if (wanted.ResourceNames.Length == 0)
                    {
                        if (!owned.Any(rule => rule.CoversResource(verb, group, resource, null)))
                            return false;
                        continue;
                    }
                    foreach (var name in wanted.ResourceNames)
                    {
                        if (!owned.Any(rule => rule.CoversResource(verb, group, resource, name)))
                            return false;
                    }
                }
            }
        }
        return true;
    }

    /// <summary>What of the wanted rules no owned one allows: taken apart into single things, and put together again by resource.</summary>
    internal static List<PolicyRule> Missing(IReadOnlyList<PolicyRule> owned, IReadOnlyList<PolicyRule> wanted)
    {
        var others = new List<PolicyRule>();
        var byResource = new Dictionary<(string Group, string Resource, string? Name), List<byte[]>>();
        foreach (var rule in wanted)
        {
            foreach (var verb in rule.Verbs)
            {
                foreach (var url in rule.NonResourceUrls)
                {
                    if (!owned.Any(o => Contains(o.Verbs, verb) && o.CoversPath(url)))
                        others.Add(new PolicyRule { Verbs = [verb], ApiGroups = [], Resources = [], ResourceNames = [], NonResourceUrls = [url] });
                }
                foreach (var group in rule.ApiGroups)
                {
                    foreach (var resource in rule.Resources)
                    {
                        foreach (var name in rule.ResourceNames.Length == 0 ? (byte[]?[])[null] : rule.ResourceNames)
                        {
                            if (owned.Any(o => o.CoversResource(verb, group, resource, name)))
                                continue;
                            var key = (Encoding.UTF8.GetString(group), Encoding.UTF8.GetString(resource), name is null ? null : Encoding.UTF8.GetString(name));
                            if (!byResource.TryGetValue(key, out var verbs))
                                byResource[key] = verbs = [];
                            verbs.Add(verb);
                        }
                    }
                }
            }
        }
        foreach (var ((group, resource, name), verbs) in byResource)
        {
            others.Add(new PolicyRule
            {
                Verbs = [.. verbs],
                ApiGroups = [Encoding.UTF8.GetBytes(group)],
                Resources = [Encoding.UTF8.GetBytes(resource)],
                ResourceNames = name is null ? [] : [Encoding.UTF8.GetBytes(name)],
                NonResourceUrls = [],
            });
        }
        return others;
    }

    /// <summary>The rule as Go prints it in escalation messages.</summary>
    internal string Describe()
    {
        var text = new StringBuilder("{");
        void Part(string name, byte[][] values)
        {
            if (values.Length == 0)
                return;
            if (text.Length > 1)
                text.Append(", ");
            text.Append(name).Append(":[").AppendJoin(" ", values.Select(static v => GoText.Quote(v))).Append(']');
        }
        Part("APIGroups", ApiGroups);
        Part("Resources", Resources);
        Part("NonResourceURLs", NonResourceUrls);
        Part("ResourceNames", ResourceNames);
        Part("Verbs", Verbs);
        return text.Append('}').ToString();
    }

    private bool CoversResource(byte[] verb, byte[] group, byte[] resource, byte[]? name)
    {
        if (!Contains(Verbs, verb) || !Contains(ApiGroups, group))
            return false;
        var slash = resource.AsSpan().IndexOf((byte)'/');
        var parent = slash < 0 ? resource : resource.AsSpan(0, slash);
        var child = slash < 0 ? default : resource.AsSpan(slash + 1);
        if (!MatchesResource(parent, child))
            return false;
        return ResourceNames.Length == 0 || name is not null && IndexOf(ResourceNames, name) >= 0;
    }

    private bool CoversPath(ReadOnlySpan<byte> url) => MatchesPath(url);

    private bool MatchesResource(ReadOnlySpan<byte> resource, ReadOnlySpan<byte> subresource)
    {
        foreach (var candidate in Resources)
        {
            if (candidate.Length == 1 && candidate[0] == '*')
                return true;
            if (subresource.IsEmpty)
            {
                if (resource.SequenceEqual(candidate))
                    return true;
                continue;
            }
            var text = candidate.AsSpan();
            if (text.Length != resource.Length + 1 + subresource.Length)
            {
                if (text.Length == subresource.Length + 2 && text[0] == '*' && text[1] == '/' && text[2..].SequenceEqual(subresource))
                    return true;
                continue;
            }
            if (text.StartsWith(resource) && text[resource.Length] == '/' && text.EndsWith(subresource))
                return true;
            if (text[0] == '*' && text[1] == '/' && text[2..].SequenceEqual(subresource))
                return true;
        }
        return false;
    }

    private bool MatchesPath(ReadOnlySpan<byte> path)
    {
        foreach (var url in NonResourceUrls)
        {
            if (path.SequenceEqual(url))
                return true;
            if (url.Length > 0 && url[^1] == '*' && path.StartsWith(url.AsSpan(0, url.Length - 1)))
                return true;
        }
        return false;
    }

    private static bool Contains(byte[][] words, ReadOnlySpan<byte> word)
    {
        foreach (var candidate in words)
        {
            if (candidate.Length == 1 && candidate[0] == '*' || word.SequenceEqual(candidate))
                return true;
        }
        return false;
    }

    private static int IndexOf(byte[][] words, ReadOnlySpan<byte> word)
    {
        for (var i = 0; i < words.Length; i++)
        {
            if (word.SequenceEqual(words[i]))
                return i;
        }
        return -1;
    }

    private static byte[][] Strings(ApiNode array)
    {
        if (array.Count == 0)
            return [];
        var strings = new byte[array.Count][];
        var i = 0;
        foreach (var element in array.Elements)
            strings[i++] = element.Utf8.ToArray();
        return strings;
    }
}
