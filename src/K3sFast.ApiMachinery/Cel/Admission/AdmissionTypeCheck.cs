using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Resources that a policy matches, as its rule names them.</summary>
/// <param name="Groups">API groups.</param>
/// <param name="Versions">API versions.</param>
/// <param name="Resources">Resources by their plural names.</param>
public sealed record AdmissionRule(IReadOnlyCollection<string> Groups, IReadOnlyCollection<string> Versions, IReadOnlyCollection<string> Resources);

/// <summary>
/// Checks the expressions of one validating policy against the kinds that its rules name without wildcards, as status.typeChecking tells. Only built-in
/// kinds are looked at.
/// </summary>
/// <remarks>One thread.</remarks>
public sealed class AdmissionTypeCheck
{
    // The most kinds of one rule; upstream's figure.
    private const int MaxKinds = 10;

    private readonly List<(string Kind, AdmissionCompiler Compiler)> _kinds = [];

    /// <summary>A check for a policy of those rules, with parameters of that kind (null = none), and with those variables.</summary>
    public AdmissionTypeCheck(
        IEnumerable<AdmissionRule> rules, (string ApiVersion, string Kind)? parameters, IReadOnlyCollection<(string Name, string Expression)> variables)
    {
        var parametersType = parameters is { } wanted && FindType(wanted.ApiVersion, wanted.Kind) is { } type ? SchemaTypes.Of(type, wanted.Kind) : null;
        foreach (var kind in KindsOf(rules))
        {
            var compiler = new AdmissionCompiler(parameters is not null, hasVariables: true, SchemaTypes.Of(kind.Type, kind.Kind), parametersType);
            foreach (var (name, expression) in variables)
                compiler.AddVariable(name, expression);
            _kinds.Add(($"{kind.Group}/{kind.Version}, Kind={kind.Kind}", compiler));
        }
    }

    /// <summary>What is wrong with the expression, for each kind with which something is; "" when nothing is.</summary>
    public string Check(string expression)
    {
        var text = new StringBuilder();
        foreach (var (kind, compiler) in _kinds)
        {
            if (compiler.FindIssues(expression) is not { Length: > 0 } issues)
                continue;
            if (text.Length > 0)
                text.Append('\n');
            text.Append(kind).Append(": ").Append(issues).Append('\n');
        }
        return text.ToString();
    }

    private static TypeSchema? FindType(string apiVersion, string kind)
    {
        int slash = apiVersion.IndexOf('/');
        return Schema.BuiltIn.FindType(slash < 0 ? "" : apiVersion[..slash], apiVersion[(slash + 1)..], kind);
    }

    private static List<ResourceInfo> KindsOf(IEnumerable<AdmissionRule> rules)
    {
        var kinds = new Dictionary<(string, string, string), ResourceInfo>();
        foreach (var rule in rules)
        {
            if (rule.Groups.Any(IsWild) || rule.Versions.Any(IsWild))
                continue;
            int count = 0;
            foreach (var resource in from g in rule.Groups.Order(StringComparer.Ordinal)
                                     from v in rule.Versions.Order(StringComparer.Ordinal)
                                     from r in rule.Resources.Where(static name => !IsWild(name) && !name.Contains('/')).Order(StringComparer.Ordinal)
                                     from resource in Resolve(g, v, r)
                                     select resource)
            {
                kinds[(resource.Group, resource.Version, resource.Kind)] = resource;
                if (++count == MaxKinds)
                    return Sorted(kinds.Values);
            }
        }
        return Sorted(kinds.Values);
    }

    // The core group's name is also that of no group in particular.
    private static IEnumerable<ResourceInfo> Resolve(string group, string version, string resource) => Schema.BuiltIn.Resources.Where(known =>
        known.EnabledByDefault && (group.Length == 0 || known.Group == group) && known.Version == version
        && (known.Resource.Equals(resource, StringComparison.OrdinalIgnoreCase) || known.Singular.Equals(resource, StringComparison.OrdinalIgnoreCase)));

    private static bool IsWild(string name) => name.Contains('*');

    private static List<ResourceInfo> Sorted(IEnumerable<ResourceInfo> kinds) =>
        [.. kinds.OrderBy(static kind => kind.Group, StringComparer.Ordinal).ThenBy(static kind => kind.Version, StringComparer.Ordinal).ThenBy(static kind => kind.Kind, StringComparer.Ordinal)];
}
