using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>One rule: operations, groups, versions, resources and scope, each with * for all, and names.</summary>
internal sealed class MatchRule
{
    private readonly string[] _operations, _groups, _versions, _resources, _names;
    private readonly string _scope;

    internal MatchRule(ApiNode rule)
    {
        _operations = Texts(rule["operations"u8]);
        _groups = Texts(rule["apiGroups"u8]);
        _versions = Texts(rule["apiVersions"u8]);
        _resources = Texts(rule["resources"u8]);
        _names = Texts(rule["resourceNames"u8]);
        _scope = rule["scope"u8].AsString();
    }

    /// <summary>True if the rule is about such a request, as if it had come for <paramref name="resource"/>.</summary>
    internal bool Matches(AdmissionRequest request, ResourceInfo resource) =>
        IsScope(request) && Has(_operations, request.Operation) && Has(_groups, resource.Group) && Has(_versions, resource.Version) && IsResource(resource.Resource, request.Subresource)
        && (_names.Length == 0 || Array.IndexOf(_names, request.Name) >= 0);

    // A namespace is in no namespace, though requests for one name it.
    private bool IsScope(AdmissionRequest request) => _scope switch
    {
        "Namespaced" => request.Namespace.Length > 0 && !request.IsNamespaceObject,
        "Cluster" => request.Namespace.Length == 0 || request.IsNamespaceObject,
        _ => true,
    };

    private bool IsResource(string resource, string subresource)
    {
        foreach (var wanted in _resources)
        {
            var slash = wanted.IndexOf('/', StringComparison.Ordinal);
            var (name, sub) = slash < 0 ? (wanted, "") : (wanted[..slash], wanted[(slash + 1)..]);
            if ((name == "*" || name == resource) && (sub == "*" || sub == subresource))
                return true;
        }
        return false;
    }

    private static bool Has(string[] values, string value) => Array.IndexOf(values, "*") >= 0 || Array.IndexOf(values, value) >= 0;

    private static string[] Texts(ApiNode list)
    {
        var texts = new string[list.Count];
        var i = 0;
        foreach (var element in list.Elements)
            texts[i++] = element.AsString();
        return texts;
    }
}

/// <summary>Which requests a policy or a binding is about: rules, rules that except, and selectors of namespace and object.</summary>
internal sealed class MatchResources
{
    private readonly LabelSelector _namespaces, _objects;
    private readonly MatchRule[] _rules, _exceptions;
    private readonly bool _isEquivalent;

    internal MatchResources(ApiNode resources)
    {
        _namespaces = LabelSelector.FromNode(resources["namespaceSelector"u8]);
        _objects = LabelSelector.FromNode(resources["objectSelector"u8]);
        _rules = Rules(resources["resourceRules"u8]);
        _exceptions = Rules(resources["excludeResourceRules"u8]);
        _isEquivalent = !resources["matchPolicy"u8].Equals("Exact"u8);
    }

    /// <summary>The resource, in the version that a rule names, as which the request is to be judged; null when it is none of these resources' business.</summary>
    /// <exception cref="ApiStatusException">The namespace whose labels decide is not there.</exception>
    internal ResourceInfo? Match(AdmissionRequest request)
    {
        if (!_objects.IsEverything && !Matches(request.Object) && !Matches(request.OldObject))
            return null;
        if (Find(_exceptions, request) is not null)
            return null;
        var matched = _rules.Length == 0 ? request.Resource : Find(_rules, request);
        return matched is not null && IsNamespaceMeant(request) ? matched : null;
    }

    private static MatchRule[] Rules(ApiNode rules)
    {
        var result = new MatchRule[rules.Count];
        var i = 0;
        foreach (var rule in rules.Elements)
            result[i++] = new MatchRule(rule);
        return result;
    }

    private bool Matches(ApiNode obj) => obj.Kind == NodeKind.Object && obj["metadata"u8].Kind == NodeKind.Object && _objects.Matches(obj["metadata"u8]["labels"u8]);

    // What is cluster-wide always matches, except namespaces, which have labels themselves.
    private bool IsNamespaceMeant(AdmissionRequest request)
    {
        if (_namespaces.IsEverything || request.Namespace.Length == 0 && !request.IsNamespaceObject)
            return true;
        if (request.IsNamespaceObject && request.Subresource.Length == 0 && request.Object.IsDefined)
            return _namespaces.Matches(request.Object["metadata"u8]["labels"u8]);
        return _namespaces.Matches(request.NamespaceObject["metadata"u8]["labels"u8]);
    }

    private ResourceInfo? Find(MatchRule[] rules, AdmissionRequest request)
    {
        foreach (var rule in rules)
        {
            if (rule.Matches(request, request.Resource))
                return request.Resource;
        }
        if (!_isEquivalent)
            return null;
        foreach (var rule in rules)
        {
            foreach (var other in request.Equivalents)
            {
                if (rule.Matches(request, other))
                    return other;
            }
        }
        return null;
    }
}
