namespace K3sFast.ApiMachinery;

/// <summary>Validation of the kinds of priority and fairness.</summary>
internal static class FlowControlValidation
{
    private const int MaxPrecedence = 10_000;
    private const int MaxQueues = 10_000_000;
    private const int MaxHashBits = 60; // of the 64 bits of a flow's hash

    private static readonly string[] s_verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

    private static readonly TypeSchema s_methodType = Schema.BuiltIn.FindType("io.k8s.api.flowcontrol.v1.FlowDistinguisherMethod")!;
    private static readonly TypeSchema s_schemaType = Schema.BuiltIn.FindType("io.k8s.api.flowcontrol.v1.FlowSchema")!;
    private static readonly TypeSchema s_levelType = Schema.BuiltIn.FindType("io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration")!;

    internal static void FlowSchema(At at, ApiNode schema)
    {
        var spec = schema["spec"u8];
        var place = at["spec"];
        long precedence = spec["matchingPrecedence"u8].AsInt64();
        string name = schema["metadata"u8]["name"u8].AsString();
        if (precedence <= 0)
            place["matchingPrecedence"].Invalid(precedence, "must be a positive value");
        if (precedence > MaxPrecedence)
            place["matchingPrecedence"].Invalid(precedence, $"must not be greater than {MaxPrecedence}");
        if (precedence == 1 && name != "exempt")
            place["matchingPrecedence"].Invalid(precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
        var method = spec["distinguisherMethod"u8];
        if (method.Kind == NodeKind.Object && !method["type"u8].Equals("ByNamespace"u8) && !method["type"u8].Equals("ByUser"u8))
            place["distinguisherMethod"]["type"].NotSupportedRaw(GoValue.Text(method, s_methodType), "ByNamespace", "ByUser");
        var level = spec["priorityLevelConfiguration"u8]["name"u8];
        if (level.Utf8.IsEmpty)
            place["priorityLevelConfiguration"]["name"].Required("must reference a priority level");
        else
            place["priorityLevelConfiguration"]["name"].Format(Format.Dns1123Subdomain, level);
        int i = 0;
        foreach (var rule in spec["rules"u8].Elements)
            Rule(place["rules"][i++], rule);
        if (FixedSpec(name, s_fixedSchemas) is { } wanted && !SameSpec(schema, wanted, s_schemaType))
            place.InvalidMember(schema, "spec", s_schemaType, $"spec of '{name}' must equal the fixed value");
        Conditions(at["status"]["conditions"], schema["status"u8]["conditions"u8]);
    }

    internal static void FlowSchemaUpdate(At at, ApiNode schema, ApiNode old) => FlowSchema(at, schema);

    internal static void StatusUpdate(At at, ApiNode obj, ApiNode old) => Conditions(at["status"]["conditions"], obj["status"u8]["conditions"u8]);

    internal static void PriorityLevel(At at, ApiNode level)
    {
        var spec = level["spec"u8];
        var place = at["spec"];
        string name = level["metadata"u8]["name"u8].AsString();
        bool isExempt = spec["type"u8].Equals("Exempt"u8);
        bool hasExempt = spec["exempt"u8].Kind == NodeKind.Object, hasLimited = spec["limited"u8].Kind == NodeKind.Object;
        if (name == "exempt" != isExempt)
            place["type"].Invalid(spec["type"u8].AsString(), "must be 'Exempt' if and only if `name` is 'exempt'");
        if (isExempt)
        {
            if (hasLimited)
                place["limited"].Forbidden("must be nil if the type is not Limited");
            if (hasExempt)
                Shares(place["exempt"], spec["exempt"u8]);
        }
        else if (spec["type"u8].Equals("Limited"u8))
        {
            if (hasExempt)
                place["exempt"].Forbidden("must be nil if the type is Limited");
            if (hasLimited)
                Limited(place["limited"], spec["limited"u8]);
            else
                place["limited"].Required("must not be empty when type is Limited");
        }
        else
        {
            place["type"].NotSupported(spec["type"u8], ["Exempt", "Limited"]);
        }
        if (FixedSpec(name, s_fixedLevels) is { } wanted)
            FixedLevel(place, level, wanted, name);
        Conditions(at["status"]["conditions"], level["status"u8]["conditions"u8]);
    }

    internal static void PriorityLevelUpdate(At at, ApiNode level, ApiNode old) => PriorityLevel(at, level);

    private static void Rule(At at, ApiNode rule)
    {
        int i = 0;
        foreach (var subject in rule["subjects"u8].Elements)
            Subject(at["subjects"][i++], subject);
        if (i == 0)
            at["subjects"].Required("subjects must contain at least one value");
        if (rule["resourceRules"u8].Count + rule["nonResourceRules"u8].Count == 0)
            at.Required("at least one of resourceRules and nonResourceRules has to be non-empty");
        i = 0;
        foreach (var resource in rule["resourceRules"u8].Elements)
            ResourceRule(at["resourceRules"][i++], resource);
        i = 0;
        foreach (var url in rule["nonResourceRules"u8].Elements)
            NonResourceRule(at["nonResourceRules"][i++], url);
    }

    private static void Subject(At at, ApiNode subject)
    {
        string kind = subject["kind"u8].AsString();
        string? field = kind switch { "ServiceAccount" => "serviceAccount", "User" => "user", "Group" => "group", _ => null };
        if (field is null)
        {
            at["kind"].NotSupported(subject["kind"u8], ["Group", "ServiceAccount", "User"]);
            return;
        }
        var value = subject[System.Text.Encoding.ASCII.GetBytes(field)];
        if (value.Kind != NodeKind.Object)
            at[field].Required($"{field} is required when subject kind is '{kind}'");
        else
            SubjectName(at[field], value, isAccount: kind == "ServiceAccount");
        foreach (var (other, otherKind) in (ReadOnlySpan<(string, string)>)[("serviceAccount", "ServiceAccount"), ("user", "User"), ("group", "Group")])
            if (other != field && subject[System.Text.Encoding.ASCII.GetBytes(other)].Kind == NodeKind.Object)
                at[other].Forbidden($"{other} is forbidden when subject kind is not '{otherKind}'");
    }

    private static void SubjectName(At at, ApiNode value, bool isAccount)
    {
        var name = value["name"u8];
        if (name.Utf8.IsEmpty)
            at["name"].Required();
        else if (isAccount && !name.Equals("*"u8))
            at["name"].Format(Format.Dns1123Subdomain, name);
        if (!isAccount)
            return;
        if (value["namespace"u8].Utf8.IsEmpty)
            at["namespace"].Required("must specify namespace for service account");
        else
            at["namespace"].Format(Format.Dns1123Label, value["namespace"u8]);
    }

    private static void ResourceRule(At at, ApiNode rule)
    {
        Verbs(at["verbs"], rule["verbs"u8]);
        Alone(at["apiGroups"], rule["apiGroups"u8], "resource rules must supply at least one api group", "api groups");
        Alone(at["resources"], rule["resources"u8], "resource rules must supply at least one resource", "resources");
        var namespaces = rule["namespaces"u8];
        if (namespaces.Count == 0 && !rule["clusterScope"u8].AsBool())
        {
            at["namespaces"].Required("resource rules that are not cluster scoped must supply at least one namespace");
        }
        else if (HasWildcard(namespaces))
        {
            if (namespaces.Count > 1)
                at["namespaces"].Invalid(namespaces, "if '*' is present, must not specify other namespaces");
        }
        else
        {
            int i = 0;
            foreach (var ns in namespaces.Elements)
                at["namespaces"][i++].Format(Format.Dns1123Label, ns.AsString(), "each member of this list must be '*' or a DNS-1123 label; ");
        }
    }

    private static void NonResourceRule(At at, ApiNode rule)
    {
        Verbs(at["verbs"], rule["verbs"u8]);
        var urls = rule["nonResourceURLs"u8];
        if (urls.Count == 0)
        {
            at["nonResourceURLs"].Required("nonResourceURLs must contain at least one value");
        }
        else if (HasWildcard(urls))
        {
            if (urls.Count > 1)
                at["nonResourceURLs"].Invalid(urls, "if '*' is present, must not specify other non-resource URLs");
        }
        else
        {
            int i = 0;
            foreach (var url in urls.Elements)
                UrlPath(at["nonResourceURLs"][i++], url);
        }
    }

    private static void UrlPath(At at, ApiNode url)
    {
        string path = url.AsString();
        if (path.Length == 0)
            at.Invalid(path, "must not be empty");
        else if (path == "/")
            return;
        else if (path[0] != '/')
            at.Invalid(path, "must start with slash");
        else if (path.Contains(' '))
            at.Invalid(path, "must not contain white-space");
        else if (path.Contains("//"))
            at.Invalid(path, "must not contain double slash");
        else if (path.IndexOf('*') is >= 0 and var star && (star != path.Length - 1 || path[^2] != '/'))
            at.Invalid(path, star == path.Length - 1 ? "wildcard can only do suffix matching" : "wildcard can only do suffix matching");
    }

    private static void Verbs(At at, ApiNode verbs)
    {
        if (verbs.Count == 0)
        {
            at.Required("verbs must contain at least one value");
            return;
        }
        if (HasWildcard(verbs))
        {
            if (verbs.Count > 1)
                at.Invalid(verbs, "if '*' is present, must not specify other verbs");
            return;
        }
        foreach (var verb in verbs.Elements)
        {
            if (Array.IndexOf(s_verbs, verb.AsString()) >= 0)
                continue;
            at.NotSupportedRaw(verbs.ToString(), s_verbs);
            return;
        }
    }

    private static void Alone(At at, ApiNode values, string whenEmpty, string what)
    {
        if (values.Count == 0)
            at.Required(whenEmpty);
        else if (values.Count > 1 && HasWildcard(values))
            at.Invalid(values, $"if '*' is present, must not specify other {what}");
    }

    private static bool HasWildcard(ApiNode values)
    {
        foreach (var value in values.Elements)
            if (value.Equals("*"u8))
                return true;
        return false;
    }

    private static void Shares(At at, ApiNode level)
    {
        if (level["nominalConcurrencyShares"u8].TryGetInt64(out long shares) && shares < 0)
            at["nominalConcurrencyShares"].Invalid(shares, "must be a non-negative integer");
        if (level["lendablePercent"u8].TryGetInt64(out long lendable) && lendable is < 0 or > 100)
            at["lendablePercent"].Invalid(lendable, "must be between 0 and 100, inclusive");
    }

    private static void Limited(At at, ApiNode limited)
    {
        if (limited["nominalConcurrencyShares"u8].TryGetInt64(out long shares) && shares < 0)
            at["nominalConcurrencyShares"].Invalid(shares, "must be a non-negative integer");
        var response = limited["limitResponse"u8];
        var place = at["limitResponse"];
        bool hasQueuing = response["queuing"u8].Kind == NodeKind.Object;
        if (response["type"u8].Equals("Reject"u8))
        {
            if (hasQueuing)
                place["queuing"].Forbidden("must be nil if limited.limitResponse.type is not Limited");
        }
        else if (response["type"u8].Equals("Queue"u8))
        {
            if (hasQueuing)
                Queuing(place["queuing"], response["queuing"u8]);
            else
                place["queuing"].Required("must not be empty if limited.limitResponse.type is Limited");
        }
        else
        {
            place["type"].NotSupported(response["type"u8], ["Queue", "Reject"]);
        }
        if (limited["lendablePercent"u8].TryGetInt64(out long lendable) && lendable is < 0 or > 100)
            at["lendablePercent"].Invalid(lendable, "must be between 0 and 100, inclusive");
        if (limited["borrowingLimitPercent"u8].TryGetInt64(out long borrowing) && borrowing < 0)
            at["borrowingLimitPercent"].Invalid(borrowing, "if specified, must be a non-negative integer");
    }

    private static void Queuing(At at, ApiNode queuing)
    {
        long length = queuing["queueLengthLimit"u8].AsInt64(), queues = queuing["queues"u8].AsInt64(), hand = queuing["handSize"u8].AsInt64();
        if (length <= 0)
            at["queueLengthLimit"].Invalid(length, "must be positive");
        if (queues <= 0)
            at["queues"].Invalid(queues, "must be positive");
        else if (queues > MaxQueues)
            at["queues"].Invalid(queues, $"must not be greater than {MaxQueues}");
        if (hand <= 0)
            at["handSize"].Invalid(hand, "must be positive");
        else if (hand > queues)
            at["handSize"].Invalid(hand, $"should not be greater than queues ({queues})");
        else if (EntropyBits(queues, hand) > MaxHashBits)
            at["handSize"].Invalid(hand, $"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MaxHashBits}");
    }

    // As many bits as it takes to deal that hand from that deck, card by card.
    private static double EntropyBits(long deck, long hand)
    {
        double bits = 0;
        for (long card = 0; card < Math.Min(hand, 128); card++)
            bits += Math.Log2(deck - card);
        return Math.Ceiling(bits);
    }

    private static void Conditions(At at, ApiNode conditions)
    {
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var condition in conditions.Elements)
        {
            var place = at[i++]["type"];
            if (!seen.Add(condition["type"u8].AsString()))
                place.Duplicate(condition["type"u8]);
            if (condition["type"u8].Utf8.IsEmpty)
                place.Required();
        }
    }

    // What the server relies on may not be changed; of the exempt level only its shares may.
    private static readonly Dictionary<string, string> s_fixedSchemas = new()
    {
        ["exempt"] = """{"spec":{"priorityLevelConfiguration":{"name":"exempt"},"matchingPrecedence":1,"rules":[{"subjects":[{"kind":"Group","group":{"name":"system:masters"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true,"namespaces":["*"]}],"nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]}]}]}}""",
        ["catch-all"] = """{"spec":{"priorityLevelConfiguration":{"name":"catch-all"},"matchingPrecedence":10000,"distinguisherMethod":{"type":"ByUser"},"rules":[{"subjects":[{"kind":"Group","group":{"name":"system:unauthenticated"}},{"kind":"Group","group":{"name":"system:authenticated"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true,"namespaces":["*"]}],"nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]}]}]}}""",
    };

    private static readonly Dictionary<string, string> s_fixedLevels = new()
    {
        ["exempt"] = """{"spec":{"type":"Exempt"}}""",
        ["catch-all"] = """{"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":5,"lendablePercent":0,"limitResponse":{"type":"Reject"}}}}""",
    };

    private static string? FixedSpec(string name, Dictionary<string, string> specs) => specs.GetValueOrDefault(name);

    private static bool SameSpec(ApiNode obj, string wanted, TypeSchema type)
    {
        using var document = JsonCodec.Decode(System.Text.Encoding.UTF8.GetBytes(wanted), null, DecodeOptions.Free, null);
        return SemanticEquality.MemberEqual(obj, document.Root, "spec"u8, type);
    }

    private static void FixedLevel(At at, ApiNode level, string wanted, string name)
    {
        var spec = level["spec"u8];
        bool isFixed = name == "exempt" ? spec["limited"u8].IsNullOrUndefined && spec["type"u8].Equals("Exempt"u8) : SameSpec(level, wanted, s_levelType);
        if (!isFixed)
            at.InvalidMember(level, "spec", s_levelType, $"spec of '{name}' must equal the fixed value");
    }
}
