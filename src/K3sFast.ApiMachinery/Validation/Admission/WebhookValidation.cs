using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of webhook configurations, and of the rules and match conditions that admission policies share with them.</summary>
internal static class WebhookValidation
{
    private static readonly string[] s_operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

    internal static void Configuration(At at, ApiNode configuration) => Webhooks(at["webhooks"], configuration["webhooks"u8], default);

    internal static void ConfigurationUpdate(At at, ApiNode configuration, ApiNode old) =>
        Webhooks(at["webhooks"], configuration["webhooks"u8], old["webhooks"u8]);

    /// <summary>What a rule with operations matches.</summary>
    internal static void Rule(At at, ApiNode rule)
    {
        var operations = rule["operations"u8];
        if (operations.Count == 0)
            at["operations"].Required();
        if (operations.Count > 1 && Contains(operations, "*"u8))
            at["operations"].Invalid(operations, "if '*' is present, must not specify other operations");
        int i = 0;
        foreach (var operation in operations.Elements)
            at["operations"][i++].OneOf(operation, s_operations);
        Alone(at["apiGroups"], rule["apiGroups"u8], "API groups");
        Alone(at["apiVersions"], rule["apiVersions"u8], "API versions");
        i = 0;
        foreach (var version in rule["apiVersions"u8].Elements)
            at["apiVersions"][i++].RequiredText(version);
        Resources(at["resources"], rule["resources"u8]);
        at["scope"].OptionalOneOf(rule["scope"u8], ["*", "Cluster", "Namespaced"]);
    }

    /// <summary>Names and expressions of match conditions, which see the parameters only where the policy has some.</summary>
    internal static void MatchConditions(At at, ApiNode conditions, bool hasParams)
    {
        var compiler = conditions.Count == 0 ? null : new AdmissionCompiler(hasParams, hasVariables: false);
        if (conditions.Count > 64)
            at.TooMany(conditions.Count, 64);
        var names = new HashSet<string>();
        int i = 0;
        foreach (var condition in conditions.Elements)
        {
            var place = at[i++];
            if (IsBlank(condition["expression"u8]))
                place["expression"].Required();
            else
                Expression(place["expression"], compiler!.Compile(condition["expression"u8].AsString().Trim(), AdmissionExpressionUse.MatchCondition));
            var name = condition["name"u8];
            if (name.Utf8.IsEmpty)
            {
                place["name"].Required();
                continue;
            }
            place["name"].Format(Format.LabelKey, name);
            if (!names.Add(name.AsString()))
                place["name"].Duplicate(name);
        }
    }

    /// <summary>Tells what keeps an expression from compiling.</summary>
    internal static void Expression(At at, AdmissionExpression expression, string? shown = null)
    {
        if (expression.IsInternal)
            at.Internal(expression.Problem);
        else if (expression.Program is null)
            at.Invalid(shown ?? expression.Source, expression.Problem);
    }

    internal static bool IsBlank(ApiNode text) => string.IsNullOrWhiteSpace(text.AsString());

    internal static bool Contains(ApiNode list, ReadOnlySpan<byte> text)
    {
        foreach (var element in list.Elements)
            if (element.Equals(text))
                return true;
        return false;
    }

    /// <summary>A URL that the server may call: https, a host, nothing after the path.</summary>
    internal static void Url(At at, ApiNode value)
    {
        const string Form = "; desired format: https://host[/path]";
        string text = value.AsString();
        int colon = text.IndexOf("://", StringComparison.Ordinal);
        string scheme = colon < 0 ? "" : text[..colon].ToLowerInvariant();
        string rest = colon < 0 ? "" : text[(colon + 3)..];
        string fragment = Cut(ref rest, '#'), query = Cut(ref rest, '?');
        int slash = rest.IndexOf('/');
        string host = slash < 0 ? rest : rest[..slash];
        string user = "";
        if (host.LastIndexOf('@') is >= 0 and var sign)
            (user, host) = (host[..sign], host[(sign + 1)..]);
        if (scheme != "https")
            at.Invalid(scheme, "'https' is the only allowed URL scheme" + Form);
        if (host.Length == 0)
            at.Invalid("", "host must be specified" + Form);
        if (user.Length > 0)
            at.Invalid(user, "user information is not permitted in the URL");
        if (fragment.Length > 0)
            at.Invalid(fragment, "fragments are not permitted in the URL");
        if (query.Length > 0)
            at.Invalid(query, "query parameters are not permitted in the URL");
    }

    /// <summary>A Service that the server may call.</summary>
    internal static void Service(At at, ApiNode service)
    {
        // The two names stand the other way round upstream, in message and check alike.
        if (service["namespace"u8].Utf8.IsEmpty)
            at["name"].Required();
        if (service["name"u8].Utf8.IsEmpty)
            at["namespace"].Required();
        long port = service["port"u8].AsInt64(443);
        if (port is < 1 or > 65535)
            at["port"].Invalid(port, "port is not valid: must be between 1 and 65535, inclusive");
        string path = service["path"u8].AsString();
        if (path is "" or "/")
            return;
        at = at["path"];
        if (path == "//")
        {
            at.Invalid(path, "segment[0] may not be empty");
            return;
        }
        if (path[0] != '/')
            at.Invalid(path, "must start with a '/'");
        string segments = path[1..];
        int i = 0;
        foreach (string segment in (segments.EndsWith('/') ? segments[..^1] : segments).Split('/'))
        {
            if (segment.Length == 0)
                at.Invalid(path, $"segment[{i}] may not be empty");
            else
                foreach (string problem in Formats.Problems(Format.Dns1123Subdomain, segment))
                    at.Invalid(path, $"segment[{i}]: {problem}");
            i++;
        }
    }

    /// <summary>How a webhook that converts custom resources is reached.</summary>
    internal static void ConversionClient(At at, ApiNode client, bool allowsInvalidBundle)
    {
        bool hasUrl = !client["url"u8].IsNullOrUndefined, hasService = !client["service"u8].IsNullOrUndefined;
        if (hasUrl == hasService)
            at.Required("exactly one of url or service is required");
        else if (hasUrl)
            Url(at["url"], client["url"u8]);
        else
            Service(at["service"], client["service"u8]);
        if (!allowsInvalidBundle && IsInvalidBundle(client["caBundle"u8]))
            at["caBundle"].Invalid(client["caBundle"u8], "unable to load root certificates: unable to parse bytes as PEM block");
    }

    /// <summary>Whether there is a bundle of certificates that cannot be read.</summary>
    internal static bool IsInvalidBundle(ApiNode bundle)
    {
        if (bundle.Utf8.IsEmpty)
            return false;
        try
        {
            var certificates = new System.Security.Cryptography.X509Certificates.X509Certificate2Collection();
            certificates.ImportFromPem(System.Text.Encoding.UTF8.GetString(Convert.FromBase64String(bundle.AsString())));
            return certificates.Count == 0;
        }
        catch (Exception e) when (e is FormatException or System.Security.Cryptography.CryptographicException)
        {
            return true;
        }
    }

    // What an old object was allowed stays allowed.
    private static void Webhooks(At at, ApiNode webhooks, ApiNode old)
    {
        bool mayHaveSideEffects = false, mayBeUnknown = false, mayRepeat = false;
        var oldNames = new HashSet<string>();
        foreach (var hook in old.Elements)
        {
            mayHaveSideEffects |= !hook["sideEffects"u8].Equals("None"u8) && !hook["sideEffects"u8].Equals("NoneOnDryRun"u8);
            mayBeUnknown |= !Contains(hook["admissionReviewVersions"u8], "v1"u8) && !Contains(hook["admissionReviewVersions"u8], "v1beta1"u8);
            mayRepeat |= !oldNames.Add(hook["name"u8].AsString());
        }
        bool areConditionsKept = old.IsDefined && HaveSameConditions(webhooks, old);
        var names = new HashSet<string>();
        int i = 0;
        foreach (var hook in webhooks.Elements)
        {
            var place = at[i++];
            Webhook(place, hook, mayHaveSideEffects);
            if (!areConditionsKept)
                MatchConditions(place["matchConditions"], hook["matchConditions"u8], hasParams: false);
            ReviewVersions(place["admissionReviewVersions"], hook["admissionReviewVersions"u8], mayBeUnknown);
            if (!mayRepeat && !hook["name"u8].Utf8.IsEmpty && !names.Add(hook["name"u8].AsString()))
                place["name"].Duplicate(hook["name"u8]);
        }
    }

    // Conditions that nobody touched are not judged again.
    private static bool HaveSameConditions(ApiNode webhooks, ApiNode old)
    {
        if (webhooks.Count != old.Count)
            return false;
        for (int i = 0; i < old.Count; i++)
        {
            if (!webhooks[i]["matchConditions"u8].DeepEquals(old[i]["matchConditions"u8]))
                return false;
        }
        return true;
    }

    private static void Webhook(At at, ApiNode hook, bool mayHaveSideEffects)
    {
        QualifiedName(at["name"], hook["name"u8].AsString());
        int i = 0;
        foreach (var rule in hook["rules"u8].Elements)
            Rule(at["rules"][i++], rule);
        at["failurePolicy"].OptionalOneOf(hook["failurePolicy"u8], ["Fail", "Ignore"]);
        at["matchPolicy"].OptionalOneOf(hook["matchPolicy"u8], ["Equivalent", "Exact"]);
        string[] classes = mayHaveSideEffects ? ["None", "NoneOnDryRun", "Some", "Unknown"] : ["None", "NoneOnDryRun"];
        if (hook["sideEffects"u8].IsNullOrUndefined)
            at["sideEffects"].Required($"must specify one of {string.Join(", ", classes)}");
        else
            at["sideEffects"].OneOf(hook["sideEffects"u8], classes);
        if (hook["timeoutSeconds"u8].TryGetInt64(out long timeout) && timeout is < 1 or > 30)
            at["timeoutSeconds"].Invalid(timeout, "the timeout value must be between 1 and 30 seconds");
        SelectorValidation.LabelSelector(at["namespaceSelector"], hook["namespaceSelector"u8]);
        SelectorValidation.LabelSelector(at["objectSelector"], hook["objectSelector"u8]);
        at["reinvocationPolicy"].OptionalOneOf(hook["reinvocationPolicy"u8], ["IfNeeded", "Never"]);
        var client = hook["clientConfig"u8];
        bool hasUrl = !client["url"u8].IsNullOrUndefined, hasService = !client["service"u8].IsNullOrUndefined;
        if (hasUrl == hasService)
            at["clientConfig"].Required("exactly one of url or service is required");
        else if (hasUrl)
            Url(at["clientConfig"]["url"], client["url"u8]);
        else
            Service(at["clientConfig"]["service"], client["service"u8]);
    }

    private static void QualifiedName(At at, string name)
    {
        if (name.Length == 0)
            at.Required();
        else if (Formats.Problems(Format.Dns1123Subdomain, name) is { Count: > 0 } problems)
            at.Invalid(name, string.Join(',', problems));
        else if (name.Split('.').Length < 3)
            at.Invalid(name, "should be a domain with at least three segments separated by dots");
    }

    private static void ReviewVersions(At at, ApiNode versions, bool mayBeUnknown)
    {
        if (versions.Count == 0)
        {
            at.Required("must specify one of v1, v1beta1");
            return;
        }
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var version in versions.Elements)
        {
            if (!seen.Add(version.AsString()))
                at[i].Invalid(version, "duplicate version");
            else
                at[i].Format(Format.Dns1035Label, version);
            i++;
        }
        if (!mayBeUnknown && !seen.Contains("v1") && !seen.Contains("v1beta1"))
            at.Invalid(versions, "must include at least one of v1, v1beta1");
    }

    private static void Alone(At at, ApiNode values, string what)
    {
        if (values.Count == 0)
            at.Required();
        if (values.Count > 1 && Contains(values, "*"u8))
            at.Invalid(values, $"if '*' is present, must not specify other {what}");
    }

    private static void Resources(At at, ApiNode resources)
    {
        if (resources.Count == 0)
            at.Required();
        var wholeResources = new HashSet<string>();
        var wholeSubresources = new HashSet<string>();
        bool hasAll = false, hasAny = false, hasPlain = false;
        int i = -1;
        foreach (var resource in resources.Elements)
        {
            i++;
            string text = resource.AsString();
            if (text.Length == 0)
            {
                at[i].Required();
                continue;
            }
            hasAll |= text == "*/*";
            hasAny |= text == "*";
            int slash = text.IndexOf('/');
            if (slash < 0)
            {
                hasPlain = text != "*";
                continue;
            }
            string name = text[..slash], sub = text[(slash + 1)..];
            if (wholeResources.Contains(name))
                at[i].Invalid(text, $"if '{name}/*' is present, must not specify {text}");
            if (wholeSubresources.Contains(sub))
                at[i].Invalid(text, $"if '*/{sub}' is present, must not specify {text}");
            if (sub == "*")
                wholeResources.Add(name);
            if (name == "*")
                wholeSubresources.Add(sub);
        }
        if (resources.Count > 1 && hasAll)
            at.Invalid(resources, "if '*/*' is present, must not specify other resources");
        if (hasAny && hasPlain)
            at.Invalid(resources, "if '*' is present, must not specify other resources without subresources");
    }

    private static string Cut(ref string text, char separator)
    {
        int at = text.IndexOf(separator);
        if (at < 0)
            return "";
        string tail = text[(at + 1)..];
        text = text[..at];
        return tail;
    }
}
