using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Reads how an issuer's claims become a user, and the rules for claims and user, in upstream's order of checks; compiles the expressions.</summary>
internal sealed class JwtMappingReader(FieldErrorList errors)
{
    private const string HttpPath = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";

    /// <summary>The issuer with its mappings and rules.</summary>
    internal JwtIssuer Read(ConfigNode item, JwtIssuer issuer)
    {
        var (required, claimRules) = ReadClaimRules(item);
        var mappings = item.Object("claimMappings");
        var username = ReadPrefixed(mappings.Object("username"), isRequired: true);
        var groups = ReadPrefixed(mappings.Object("groups"), isRequired: false);
        var (uidClaim, uid) = ReadUid(mappings.Object("uid"));
        var expressions = new JwtExpressions
        {
            Username = username.Expression,
            Groups = groups.Expression,
            Uid = uid,
            Extra = ReadExtra(mappings),
            ClaimRules = claimRules,
        };
        expressions.CheckMail($"{mappings.Path}.username.expression", errors);
        mappings.Close();
        return issuer with
        {
            UsernameClaim = username.Claim,
            UsernamePrefix = username.Prefix,
            GroupsClaim = groups.Claim,
            GroupsPrefix = groups.Prefix,
            UidClaim = uidClaim,
            RequiredClaims = required,
            Expressions = expressions with { UserRules = ReadUserRules(item) },
        };
    }

    private (Dictionary<string, string> Required, List<(CelProgram, string)> Rules) ReadClaimRules(ConfigNode item)
    {
        var required = new Dictionary<string, string>();
        var rules = new List<(CelProgram, string)>();
        var seen = new HashSet<string>();
        foreach (var rule in item.Objects("claimValidationRules"))
        {
            string claim = rule.Text("claim"), expression = rule.Text("expression"), message = rule.Text("message"), value = rule.Text("requiredValue");
            if (claim.Length > 0 && expression.Length > 0)
                errors.Invalid(rule.Path, claim, "claim and expression can't both be set");
            else if (claim.Length == 0 && expression.Length == 0)
                errors.Required(rule.Path, "claim or expression is required");
            else if (claim.Length > 0)
            {
                if (message.Length > 0)
                    errors.Invalid(rule.PathOf("message"), message, "may not be specified when claim is set");
                if (!required.TryAdd(claim, value))
                    errors.Duplicate(rule.PathOf("claim"), claim);
            }
            else
            {
                if (value.Length > 0)
                    errors.Invalid(rule.PathOf("requiredValue"), value, "may not be specified when expression is set");
                if (!seen.Add(expression))
                    errors.Duplicate(rule.PathOf("expression"), expression);
                else if (JwtExpressions.CompileClaims(expression, isRule: true, rule.PathOf("expression"), errors) is { } program)
                    rules.Add((program, message));
            }
            rule.Close();
        }
        return (required, rules);
    }

    private (string Claim, string Prefix, CelProgram? Expression) ReadPrefixed(ConfigNode mapping, bool isRequired)
    {
        string claim = mapping.Text("claim"), expression = mapping.Text("expression"), prefix = mapping.Text("prefix");
        CelProgram? program = null;
        if (expression.Length > 0 && claim.Length > 0)
            errors.Invalid(mapping.Path, "", "claim and expression can't both be set");
        else if (expression.Length == 0 && claim.Length == 0 && isRequired)
            errors.Required(mapping.Path, "claim or expression is required");
        else if (expression.Length > 0)
        {
            if (mapping.Has("prefix"))
                errors.Invalid(mapping.PathOf("prefix"), prefix, "may not be specified when expression is set");
            program = JwtExpressions.CompileClaims(expression, isRule: false, mapping.PathOf("expression"), errors);
        }
        else if (claim.Length > 0 && !mapping.Has("prefix"))
            errors.Required(mapping.PathOf("prefix"), "prefix is required when claim is set. It can be set to an empty string to disable prefixing");
        mapping.Close();
        return (claim, prefix, program);
    }

    private (string Claim, CelProgram? Expression) ReadUid(ConfigNode mapping)
    {
        string claim = mapping.Text("claim"), expression = mapping.Text("expression");
        CelProgram? program = null;
        if (claim.Length > 0 && expression.Length > 0)
            errors.Invalid(mapping.Path, "", "claim and expression can't both be set");
        else if (expression.Length > 0)
            program = JwtExpressions.CompileClaims(expression, isRule: false, mapping.PathOf("expression"), errors);
        mapping.Close();
        return (claim, program);
    }

    private List<(string, CelProgram)> ReadExtra(ConfigNode mappings)
    {
        var extra = new List<(string, CelProgram)>();
        var seen = new HashSet<string>();
        foreach (var mapping in mappings.Objects("extra"))
        {
            string key = mapping.Text("key"), expression = mapping.Text("valueExpression");
            CheckKey(key, mapping.PathOf("key"));
            if (!seen.Add(key))
                errors.Duplicate(mapping.PathOf("key"), key);
            else if (expression.Length == 0)
                errors.Required(mapping.PathOf("valueExpression"));
            else if (JwtExpressions.CompileClaims(expression, isRule: false, mapping.PathOf("valueExpression"), errors) is { } program)
                extra.Add((key, program));
            mapping.Close();
        }
        return extra;
    }

    private void CheckKey(string key, string path)
    {
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        var (domain, rest) = slash < 0 ? ("", "") : (key[..slash], key[(slash + 1)..]);
        if (key.Length == 0)
            errors.Required(path);
        else if (domain.Length == 0 || rest.Length == 0)
            errors.Invalid(path, key, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        else
        {
            foreach (var problem in Validation.SubdomainProblems(domain))
                errors.Invalid(path, domain, problem);
            if (rest.Any(static unit => !char.IsAsciiLetterOrDigit(unit) && !"/-._~%!$&'()*+,;=:".Contains(unit)))
                errors.Invalid(path, rest, $"Invalid path (regex used for validation is '{HttpPath}')");
        }
        if (key != key.ToLowerInvariant())
            errors.Invalid(path, key, "must be lowercase");
        foreach (var reserved in (ReadOnlySpan<string>)["kubernetes.io", "k8s.io"])
        {
            if (domain == reserved || domain.EndsWith("." + reserved, StringComparison.Ordinal))
                errors.Invalid(path, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
        }
    }

    private List<(CelProgram, string)> ReadUserRules(ConfigNode item)
    {
        var rules = new List<(CelProgram, string)>();
        var seen = new HashSet<string>();
        foreach (var rule in item.Objects("userValidationRules"))
        {
            string expression = rule.Text("expression"), message = rule.Text("message");
            if (expression.Length == 0)
                errors.Required(rule.PathOf("expression"));
            else if (!seen.Add(expression))
                errors.Duplicate(rule.PathOf("expression"), expression);
            else if (JwtExpressions.CompileUser(expression, rule.PathOf("expression"), errors) is { } program)
                rules.Add((program, message));
            rule.Close();
        }
        return rules;
    }
}
