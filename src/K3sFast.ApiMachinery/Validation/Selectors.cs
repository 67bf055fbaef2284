using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of label selectors and of the node selectors that look like them.</summary>
internal static class SelectorValidation
{
    private static readonly TypeSchema s_type = Schema.BuiltIn.FindType("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector")!;

    /// <summary>Whether a selector can be made of it at all; if not, upstream does not go on to match anything.</summary>
    internal static bool IsWellFormed(ApiNode selector)
    {
        var check = Check.Rent();
        LabelSelector(check.Root, selector);
        return check.Finish().Count == 0;
    }

    /// <summary>Complains of a selector as a whole, shown as upstream shows it.</summary>
    internal static void InvalidSelector(At at, ApiNode selector, string detail) => at.InvalidValue(selector, s_type, detail);

    /// <summary>A label selector; absent is fine.</summary>
    internal static void LabelSelector(At at, ApiNode selector)
    {
        if (selector.Kind != NodeKind.Object)
            return;
        ObjectMetaValidation.Labels(at["matchLabels"], selector["matchLabels"u8]);
        int i = 0;
        foreach (var expression in selector["matchExpressions"u8].Elements)
            Requirement(at["matchExpressions"][i++], expression);
    }

    /// <summary>A selector that must be there and select something, as workloads need it.</summary>
    internal static void Required(At at, ApiNode selector, string kind)
    {
        if (selector.Kind != NodeKind.Object)
        {
            at.Required();
            return;
        }
        LabelSelector(at, selector);
        if (IsEmpty(selector))
            at.InvalidValue(selector, s_type, $"empty selector is invalid for {kind}");
    }

    internal static bool IsEmpty(ApiNode selector) => selector["matchLabels"u8].Count + selector["matchExpressions"u8].Count == 0;

    /// <summary>Whether labels satisfy a label selector; a term that is not understood satisfies nothing.</summary>
    internal static bool Matches(ApiNode selector, ApiNode labels)
    {
        foreach (var label in selector["matchLabels"u8].Members)
            if (!labels[label.Name].Equals(label.Value.Utf8))
                return false;
        foreach (var expression in selector["matchExpressions"u8].Elements)
        {
            var value = labels[expression["key"u8].Utf8];
            bool isAmong = false;
            foreach (var candidate in expression["values"u8].Elements)
                isAmong |= value.IsDefined && value.Equals(candidate.Utf8);
            bool matches = expression["operator"u8].AsString() switch
            {
                "In" => isAmong,
                "NotIn" => !isAmong,
                "Exists" => value.IsDefined,
                "DoesNotExist" => !value.IsDefined,
                _ => false,
            };
            if (!matches)
                return false;
        }
        return true;
    }

    /// <summary>A node selector: at least one term.</summary>
    internal static void NodeSelector(At at, ApiNode selector)
    {
        var terms = selector["nodeSelectorTerms"u8];
        if (terms.Count == 0)
            at["nodeSelectorTerms"].Required("must have at least one node selector term");
        int i = 0;
        foreach (var term in terms.Elements)
            NodeSelectorTerm(at["nodeSelectorTerms"][i++], term, checkValues: true);
    }

    internal static void NodeSelectorTerm(At at, ApiNode term, bool checkValues)
    {
        int i = 0;
        foreach (var requirement in term["matchExpressions"u8].Elements)
            NodeRequirement(at["matchExpressions"][i++], requirement, checkValues);
        i = 0;
        foreach (var requirement in term["matchFields"u8].Elements)
            NodeFieldRequirement(at["matchFields"][i++], requirement);
    }

    private static void Requirement(At at, ApiNode requirement)
    {
        var values = requirement["values"u8];
        CheckSetOperator(at, requirement, values, allowsComparison: false);
        at["key"].Format(Format.LabelKey, requirement["key"u8]);
        Values(at["values"], values);
    }

    private static void NodeRequirement(At at, ApiNode requirement, bool checkValues)
    {
        CheckSetOperator(at, requirement, requirement["values"u8], allowsComparison: true);
        at["key"].Format(Format.LabelKey, requirement["key"u8]);
        if (checkValues)
            Values(at["values"], requirement["values"u8]);
    }

    private static void CheckSetOperator(At at, ApiNode requirement, ApiNode values, bool allowsComparison)
    {
        var op = requirement["operator"u8];
        if (op.Equals("In"u8) || op.Equals("NotIn"u8))
        {
            if (values.Count == 0)
                at["values"].Required("must be specified when `operator` is 'In' or 'NotIn'");
        }
        else if (op.Equals("Exists"u8) || op.Equals("DoesNotExist"u8))
        {
            if (values.Count > 0)
                at["values"].Forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        else if (allowsComparison && (op.Equals("Gt"u8) || op.Equals("Lt"u8)))
        {
            if (values.Count != 1)
                at["values"].Required("must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        else
        {
            at["operator"].Invalid(op.AsString(), "not a valid selector operator");
        }
    }

    private static void NodeFieldRequirement(At at, ApiNode requirement)
    {
        var op = requirement["operator"u8];
        var values = requirement["values"u8];
        if (!op.Equals("In"u8) && !op.Equals("NotIn"u8))
            at["operator"].Invalid(op.AsString(), "not a valid selector operator");
        else if (values.Count != 1)
            at["values"].Required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
        if (!requirement["key"u8].Equals("metadata.name"u8))
        {
            at["key"].Invalid(requirement["key"u8].AsString(), "not a valid field selector key");
            return;
        }
        int i = 0;
        foreach (var value in values.Elements)
            at["values"][i++].Format(Format.Dns1123Subdomain, value);
    }

    private static void Values(At at, ApiNode values)
    {
        int i = 0;
        foreach (var value in values.Elements)
            at[i++].Format(Format.LabelValue, value);
    }
}
