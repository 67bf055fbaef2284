using System.Runtime.CompilerServices;

namespace K3sFast.ApiMachinery;

/// <summary>The validation of one kind: the format of its names and the rules of each operation. Null = metadata only.</summary>
internal sealed record KindRules(
    Format NameFormat, Action<At, ApiNode>? Create, Action<At, ApiNode, ApiNode>? Update,
    Action<At, ApiNode, ApiNode>? UpdateStatus = null, Action<At, ApiNode, ApiNode, string>? UpdateSubresource = null)
{
    private static readonly ConditionalWeakTable<ResourceInfo, KindRules> s_byResource = [];

    internal static KindRules For(ResourceInfo resource) =>
        s_byResource.TryGetValue(resource, out var known) ? known : s_byResource.GetValue(resource, static r => Make(r.Group, r.Resource));

    private static KindRules Make(string group, string resource) => (group, resource) switch
    {
        ("", "pods") => new(Format.Dns1123Subdomain, PodValidation.Create, null),
        ("", "namespaces") => new(Format.Dns1123Label, null, null),
        ("rbac.authorization.k8s.io", _) => new(Format.PathSegment, null, null),
        _ => new(Format.Dns1123Subdomain, null, null),
    };
}
