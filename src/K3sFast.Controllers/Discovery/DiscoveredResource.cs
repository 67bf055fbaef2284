namespace K3sFast.Controllers;

/// <summary>A resource as discovery tells of it.</summary>
internal sealed record DiscoveredResource(string Group, string Version, string Plural, string Kind, bool IsNamespaced, IReadOnlySet<string> Verbs)
{
    internal string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    /// <summary>Path of the collection, of one namespace when given.</summary>
    internal string Path(string? namespaceName = null, string? name = null)
    {
        var root = Group.Length == 0 ? $"/api/{Version}" : $"/apis/{Group}/{Version}";
        var scope = IsNamespaced && namespaceName is not null ? $"/namespaces/{Uri.EscapeDataString(namespaceName)}" : "";
        return $"{root}{scope}/{Plural}{(name is null ? "" : "/" + Uri.EscapeDataString(name))}";
    }
}

/// <summary>All resources in their preferred versions, and the groups that did not answer with why.</summary>
internal sealed record DiscoveryResult(IReadOnlyList<DiscoveredResource> Resources, IReadOnlyDictionary<string, string> Failures);
