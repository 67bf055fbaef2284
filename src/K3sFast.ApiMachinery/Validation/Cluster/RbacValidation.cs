namespace K3sFast.ApiMachinery;

/// <summary>Validation of roles and of their bindings.</summary>
internal static class RbacValidation
{
    private const string Group = "rbac.authorization.k8s.io";

    private static readonly TypeSchema s_roleRefType = Schema.BuiltIn.FindType("io.k8s.api.rbac.v1.RoleRef")!;

    internal static void Role(At at, ApiNode role) => Rules(at["rules"], role["rules"u8], isNamespaced: true);

    internal static void RoleUpdate(At at, ApiNode role, ApiNode old) => Role(at, role);

    internal static void ClusterRole(At at, ApiNode role)
    {
        Rules(at["rules"], role["rules"u8], isNamespaced: false);
        var aggregation = role["aggregationRule"u8];
        if (aggregation.Kind != NodeKind.Object)
            return;
        var place = at["aggregationRule"]["clusterRoleSelectors"];
        if (aggregation["clusterRoleSelectors"u8].Count == 0)
            place.Required("at least one clusterRoleSelector required if aggregationRule is non-nil");
        int i = 0;
        foreach (var selector in aggregation["clusterRoleSelectors"u8].Elements)
        {
            SelectorValidation.LabelSelector(place[i], selector);
            if (!SelectorValidation.IsWellFormed(selector))
                place[i].Invalid(default(ApiNode), "invalid label selector.");
            i++;
        }
    }

    internal static void ClusterRoleUpdate(At at, ApiNode role, ApiNode old) => ClusterRole(at, role);

    internal static void RoleBinding(At at, ApiNode binding) => Binding(at, binding, isNamespaced: true);

    internal static void ClusterRoleBinding(At at, ApiNode binding) => Binding(at, binding, isNamespaced: false);

    internal static void RoleBindingUpdate(At at, ApiNode binding, ApiNode old)
    {
        RoleBinding(at, binding);
        SameRole(at, binding, old);
    }

    internal static void ClusterRoleBindingUpdate(At at, ApiNode binding, ApiNode old)
    {
        ClusterRoleBinding(at, binding);
        SameRole(at, binding, old);
    }

    private static void SameRole(At at, ApiNode binding, ApiNode old)
    {
        if (!binding["roleRef"u8].DeepEquals(old["roleRef"u8]))
            at["roleRef"].InvalidValue(binding["roleRef"u8], s_roleRefType, "cannot change roleRef");
    }

    private static void Rules(At at, ApiNode rules, bool isNamespaced)
    {
        int i = 0;
        foreach (var rule in rules.Elements)
        {
            var place = at[i++];
            if (rule["verbs"u8].Count == 0)
                place["verbs"].Required("verbs must contain at least one value");
            if (rule["nonResourceURLs"u8].Count > 0)
            {
                if (isNamespaced)
                    place["nonResourceURLs"].Invalid(rule["nonResourceURLs"u8], "namespaced rules cannot apply to non-resource URLs");
                if (rule["apiGroups"u8].Count + rule["resources"u8].Count + rule["resourceNames"u8].Count > 0)
                    place["nonResourceURLs"].Invalid(rule["nonResourceURLs"u8], "rules cannot apply to both regular resources and non-resource URLs");
                continue;
            }
            if (rule["apiGroups"u8].Count == 0)
                place["apiGroups"].Required("resource rules must supply at least one api group");
            if (rule["resources"u8].Count == 0)
                place["resources"].Required("resource rules must supply at least one resource");
        }
    }

    private static void Binding(At at, ApiNode binding, bool isNamespaced)
    {
        var role = binding["roleRef"u8];
        at["roleRef"]["apiGroup"].OneOf(role["apiGroup"u8], [Group]);
        if (isNamespaced)
            at["roleRef"]["kind"].OneOf(role["kind"u8], ["Role", "ClusterRole"]);
        else
            at["roleRef"]["kind"].OneOf(role["kind"u8], ["ClusterRole"]);
        if (role["name"u8].Utf8.IsEmpty)
            at["roleRef"]["name"].Required();
        else
            at["roleRef"]["name"].Format(Format.PathSegment, role["name"u8]);
        int i = 0;
        foreach (var subject in binding["subjects"u8].Elements)
            Subject(at["subjects"][i++], subject, isNamespaced);
    }

    private static void Subject(At at, ApiNode subject, bool isNamespaced)
    {
        at["name"].RequiredText(subject["name"u8]);
        if (subject["kind"u8].Equals("ServiceAccount"u8))
        {
            PodValidation.FormatWhenSet(at["name"], subject["name"u8], Format.Dns1123Subdomain);
            if (!subject["apiGroup"u8].Utf8.IsEmpty)
                at["apiGroup"].NotSupported(subject["apiGroup"u8], [""]);
            if (!isNamespaced && subject["namespace"u8].Utf8.IsEmpty)
                at["namespace"].Required();
        }
        else if (subject["kind"u8].Equals("User"u8) || subject["kind"u8].Equals("Group"u8))
        {
            at["apiGroup"].OneOf(subject["apiGroup"u8], [Group]);
        }
        else
        {
            at["kind"].NotSupported(subject["kind"u8], ["ServiceAccount", "User", "Group"]);
        }
    }
}
