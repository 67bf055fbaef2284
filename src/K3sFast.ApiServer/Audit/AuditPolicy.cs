using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>How much of a request is recorded.</summary>
internal enum AuditLevel : byte { None, Metadata, Request, RequestResponse }

/// <summary>When a request is recorded.</summary>
[Flags]
internal enum AuditStages : byte { None = 0, RequestReceived = 1, ResponseStarted = 2, ResponseComplete = 4, Panic = 8 }

/// <summary>What the policy says about one request.</summary>
internal readonly record struct AuditVerdict(AuditLevel Level, AuditStages Omitted, bool OmitsManagedFields);

/// <summary>The file of --audit-policy-file (audit.k8s.io/v1): the first rule that matches a request decides. Immutable.</summary>
/// <remarks>Any thread. Judging allocates nothing.</remarks>
internal sealed class AuditPolicy
{
    internal const string Flag = "audit-policy-file";

    private static readonly string[] s_levels = ["None", "Metadata", "Request", "RequestResponse"];
    private static readonly string[] s_stages = ["Panic", "RequestReceived", "ResponseComplete", "ResponseStarted"];

    private readonly AuditRule[] _rules;
    private readonly AuditStages _omitted;
    private readonly bool _omitsManagedFields;

    private AuditPolicy(AuditRule[] rules, AuditStages omitted, bool omitsManagedFields)
    {
        _rules = rules;
        _omitted = omitted;
        _omitsManagedFields = omitsManagedFields;
    }

    /// <exception cref="ApiServerStartException">The file is no policy, or an invalid one.</exception>
    internal static AuditPolicy Load(string path)
    {
        var errors = new FieldErrorList();
        var policy = ConfigDocument.Read(Flag, path, ConfigDocument.Load(Flag, path), "Policy", ["audit.k8s.io/v1"], root =>
        {
            var omitted = ReadStages(root, "omitStages", errors);
            var omitsManagedFields = root.Bool("omitManagedFields");
            root.Object("metadata");
            var rules = new List<AuditRule>();
            foreach (var item in root.Objects("rules"))
                rules.Add(ReadRule(item, omitted, omitsManagedFields, errors));
            return new AuditPolicy([.. rules], omitted, omitsManagedFields);
        });
        if (errors.Count > 0)
            throw new ApiServerStartException($"--{Flag}: loading audit policy file: {errors}: from file {path}");
        return policy._rules.Length > 0
            ? policy
            : throw new ApiServerStartException($"--{Flag}: loading audit policy file: loaded illegal policy with 0 rules: from file {path}");
    }

    internal AuditVerdict Judge(in AuthorizationAttributes attributes)
    {
        foreach (var rule in _rules)
        {
            if (rule.Matches(attributes))
                return rule.Verdict;
        }
        return new AuditVerdict(AuditLevel.None, _omitted, _omitsManagedFields);
    }

    private static AuditRule ReadRule(ConfigNode item, AuditStages omitted, bool omitsManagedFields, FieldErrorList errors)
    {
        var level = item.Text("level");
        if (level.Length == 0)
            errors.Required(item.PathOf("level"));
        else if (!s_levels.Contains(level))
            errors.NotSupported(item.PathOf("level"), level, s_levels);
        var urls = item.Texts("nonResourceURLs");
        for (var i = 0; i < urls.Count; i++)
        {
            var path = $"{item.PathOf("nonResourceURLs")}[{i}]";
            if (urls[i] == "*")
                continue;
            if (!urls[i].StartsWith('/'))
                errors.Invalid(path, urls[i], "non-resource URL rules must begin with a '/' character");
            if (urls[i].TrimEnd('*').Length < urls[i].Length - 1 || urls[i].AsSpan(0, Math.Max(0, urls[i].Length - 1)).Contains('*'))
                errors.Invalid(path, urls[i], "non-resource URL wildcards '*' must be the final character of the rule");
        }
        var resources = new List<AuditRule.GroupResources>();
        foreach (var group in item.Objects("resources"))
            resources.Add(ReadResources(group, errors));
        var namespaces = item.Texts("namespaces");
        if (urls.Count > 0 && (resources.Count > 0 || namespaces.Count > 0))
            errors.Invalid(item.PathOf("nonResourceURLs"), string.Join(",", urls), "rules cannot apply to both regular resources and non-resource URLs");
        var rule = new AuditRule
        {
            Users = Bytes(item.Texts("users")),
            UserGroups = [.. item.Texts("userGroups")],
            Verbs = Bytes(item.Texts("verbs")),
            Namespaces = Bytes(namespaces),
            Resources = [.. resources],
            NonResourceUrls = Bytes(urls),
            Verdict = new AuditVerdict(
                (AuditLevel)Math.Max(0, Array.IndexOf(s_levels, level)), omitted | ReadStages(item, "omitStages", errors), item.Bool("omitManagedFields", omitsManagedFields)),
        };
        item.Close();
        return rule;
    }

    private static AuditRule.GroupResources ReadResources(ConfigNode group, FieldErrorList errors)
    {
        var name = group.Text("group");
        var resources = group.Texts("resources");
        var names = group.Texts("resourceNames");
        if (names.Count > 0 && resources.Count == 0)
            errors.Invalid(group.PathOf("resourceNames"), string.Join(",", names), "using resourceNames requires at least one resource");
        group.Close();
        return new AuditRule.GroupResources(Encoding.UTF8.GetBytes(name), Bytes(resources), Bytes(names));
    }

    private static AuditStages ReadStages(ConfigNode node, string name, FieldErrorList errors)
    {
        var stages = AuditStages.None;
        var words = node.Texts(name);
        for (var i = 0; i < words.Count; i++)
        {
            if (s_stages.Contains(words[i]))
                stages |= Enum.Parse<AuditStages>(words[i]);
            else
                errors.Invalid($"{node.PathOf(name)}[{i}]", words[i], "allowed stages are " + string.Join(',', s_stages));
        }
        return stages;
    }

    private static byte[][] Bytes(List<string> texts) => [.. texts.Select(Encoding.UTF8.GetBytes)];
}
