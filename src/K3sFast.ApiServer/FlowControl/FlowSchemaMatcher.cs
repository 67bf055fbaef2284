using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>What tells the flows of a schema apart.</summary>
internal enum FlowDistinguisher : byte
{
    None,
    ByUser,
    ByNamespace,
}

/// <summary>One FlowSchema, made for matching: which requests are its flows, and at which level they are served.</summary>
/// <remarks>Immutable. Matching allocates nothing.</remarks>
internal sealed class FlowSchemaMatcher
{
    private readonly Rule[] _rules;
    private readonly ulong _seed;

    internal FlowSchemaMatcher(ApiNode schema, PriorityLevel level)
    {
        var spec = schema["spec"u8];
        Name = schema["metadata"u8]["name"u8].AsString();
        Uid = schema["metadata"u8]["uid"u8].AsString();
        Precedence = spec["matchingPrecedence"u8].AsInt64();
        Level = level;
        Distinguisher = spec["distinguisherMethod"u8]["type"u8].AsString() switch
        {
            "ByUser" => FlowDistinguisher.ByUser,
            "ByNamespace" => FlowDistinguisher.ByNamespace,
            _ => FlowDistinguisher.None,
        };
        _seed = ShuffleSharding.SeedOf(Name);
        var rules = new List<Rule>();
        foreach (var rule in spec["rules"u8].Elements)
            rules.Add(new Rule(rule));
        _rules = [.. rules];
    }

    internal string Name { get; }

    internal string Uid { get; }

    internal long Precedence { get; }

    internal PriorityLevel Level { get; }

    internal FlowDistinguisher Distinguisher { get; }

    /// <summary>Where its requests are counted.</summary>
    internal FlowMetrics.FlowSeries? Measured { get; init; }

    internal bool Matches(in RequestInfo info, UserInfo user)
    {
        foreach (var rule in _rules)
        {
            if (rule.Matches(info, user))
                return true;
        }
        return false;
    }

    /// <summary>The hash by which the request's flow is dealt its queues.</summary>
    internal ulong HashOf(in RequestInfo info, UserInfo user) => Distinguisher switch
    {
        FlowDistinguisher.ByUser => ShuffleSharding.Hash(_seed, user.Name),
        FlowDistinguisher.ByNamespace => ShuffleSharding.Hash(_seed, info.Namespace),
        _ => ShuffleSharding.Hash(_seed, default(ReadOnlySpan<char>)),
    };

    /// <summary>The request's flow as people read it.</summary>
    internal FlowLabel LabelOf(in RequestInfo info, UserInfo user, DateTimeOffset now) => new(Name, Distinguisher switch
    {
        FlowDistinguisher.ByUser => user.Name,
        FlowDistinguisher.ByNamespace => info.NamespaceText,
        _ => "",
    }, now);

    private sealed class Rule(ApiNode rule)
    {
        private readonly Subject[] _subjects = Of(rule["subjects"u8], static node => new Subject(node));
        private readonly ResourceRule[] _resources = Of(rule["resourceRules"u8], static node => new ResourceRule(node));
        private readonly PathRule[] _paths = Of(rule["nonResourceRules"u8], static node => new PathRule(node));

        internal bool Matches(in RequestInfo info, UserInfo user)
        {
            if (!MatchesSubject(user))
                return false;
            if (info.IsResourceRequest)
            {
                foreach (var resource in _resources)
                {
                    if (resource.Matches(info))
                        return true;
                }
                return false;
            }
            foreach (var path in _paths)
            {
                if (path.Matches(info))
                    return true;
            }
            return false;
        }

        private bool MatchesSubject(UserInfo user)
        {
            foreach (var subject in _subjects)
            {
                if (subject.Matches(user))
                    return true;
            }
            return false;
        }

        private static T[] Of<T>(ApiNode list, Func<ApiNode, T> make)
        {
            var items = new List<T>();
            foreach (var element in list.Elements)
                items.Add(make(element));
            return [.. items];
        }
    }

    private sealed class Subject
    {
        private readonly string _kind;
        private readonly string _name;
        private readonly string _accountPrefix = "";

        internal Subject(ApiNode subject)
        {
            _kind = subject["kind"u8].AsString();
            var account = subject["serviceAccount"u8];
            _name = _kind switch
            {
                "User" => subject["user"u8]["name"u8].AsString(),
                "Group" => subject["group"u8]["name"u8].AsString(),
                _ => account["name"u8].AsString(),
            };
            if (_kind != "ServiceAccount")
                return;
            _accountPrefix = $"system:serviceaccount:{account["namespace"u8].AsString()}:";
            if (_name != "*")
                _name = _accountPrefix + _name;
        }

        internal bool Matches(UserInfo user)
        {
            switch (_kind)
            {
                case "User":
                    return _name == "*" || _name == user.Name;
                case "Group":
                    if (_name == "*")
                        return true;
                    var groups = user.Groups;
                    for (var i = 0; i < groups.Count; i++)
                    {
                        if (groups[i] == _name)
                            return true;
                    }
                    return false;
                case "ServiceAccount":
                    return _name == "*" ? user.Name.StartsWith(_accountPrefix, StringComparison.Ordinal) : _name == user.Name;
                default:
                    return false;
            }
        }
    }

    private sealed class ResourceRule(ApiNode rule)
    {
        private readonly WordSet _verbs = new(rule["verbs"u8]);
        private readonly WordSet _groups = new(rule["apiGroups"u8]);
        private readonly WordSet _resources = new(rule["resources"u8]);
        private readonly WordSet _namespaces = new(rule["namespaces"u8]);
        private readonly bool _isClusterScope = rule["clusterScope"u8].AsBool();

        internal bool Matches(in RequestInfo info) =>
            _verbs.Has(info.Verb.Utf8()) && _resources.HasResource(info.Resource, info.Subresource) && _groups.Has(info.Group)
            && (info.Namespace.IsEmpty ? _isClusterScope : _namespaces.Has(info.Namespace));
    }

    private sealed class PathRule(ApiNode rule)
    {
        private readonly WordSet _verbs = new(rule["verbs"u8]);
        private readonly WordSet _paths = new(rule["nonResourceURLs"u8]);

        internal bool Matches(in RequestInfo info) => _verbs.Has(info.Verb.Utf8()) && _paths.HasPath(info.Path);
    }

    /// <summary>The words of a rule; a lone star is every word.</summary>
    private sealed class WordSet
    {
        private readonly byte[][] _words;
        private readonly bool _isAll;

        internal WordSet(ApiNode words)
        {
            var list = new List<byte[]>();
            foreach (var word in words.Elements)
                list.Add(word.Utf8.ToArray());
            _words = [.. list];
            _isAll = _words.Length == 1 && _words[0].AsSpan().SequenceEqual("*"u8);
        }

        internal bool Has(ReadOnlySpan<byte> word)
        {
            if (_isAll)
                return true;
            foreach (var known in _words)
            {
                if (known.AsSpan().SequenceEqual(word))
                    return true;
            }
            return false;
        }

        internal bool HasResource(ReadOnlySpan<byte> resource, ReadOnlySpan<byte> subresource)
        {
            if (_isAll || subresource.IsEmpty)
                return Has(resource);
            foreach (var known in _words)
            {
                if (known.Length == resource.Length + 1 + subresource.Length && known.AsSpan().StartsWith(resource)
                    && known[resource.Length] == '/' && known.AsSpan().EndsWith(subresource))
                    return true;
            }
            return false;
        }

        // A path covers itself and everything below it, with or without a star at its end.
        internal bool HasPath(ReadOnlySpan<byte> path)
        {
            foreach (var known in _words)
            {
                var word = known.AsSpan();
                if (word.SequenceEqual("*"u8) || word.SequenceEqual(path))
                    return true;
                if (word.EndsWith("*"u8))
                    word = word[..^1];
                if (word.EndsWith("/"u8))
                    word = word[..^1];
                if (path.Length > word.Length && path.StartsWith(word) && path[word.Length] == '/')
                    return true;
            }
            return false;
        }
    }
}

/// <summary>All schemas in matching order, and all levels: one state of the configuration.</summary>
internal sealed class FlowConfiguration(FlowSchemaMatcher[] schemas, FlowSchemaMatcher fallback, Dictionary<string, PriorityLevel> levels)
{
    internal IReadOnlyDictionary<string, PriorityLevel> Levels => levels;

    internal IReadOnlyList<FlowSchemaMatcher> Schemas => schemas;

    /// <summary>The schema whose flow the request is: the first that matches, else catch-all.</summary>
    internal FlowSchemaMatcher Match(in RequestInfo info, UserInfo user)
    {
        foreach (var schema in schemas)
        {
            if (schema.Matches(info, user))
                return schema;
        }
        return fallback;
    }
}
