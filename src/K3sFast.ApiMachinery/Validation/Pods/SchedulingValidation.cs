namespace K3sFast.ApiMachinery;

/// <summary>Validation of what a pod asks of the scheduler: affinity, tolerations, spreading.</summary>
internal static class SchedulingValidation
{
    private static readonly TypeSchema s_taintType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.Taint")!;

    private static readonly string[] s_effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

    internal static void Affinity(At at, ApiNode affinity)
    {
        var node = affinity["nodeAffinity"u8];
        if (node.Kind == NodeKind.Object)
        {
            var required = node["requiredDuringSchedulingIgnoredDuringExecution"u8];
            if (required.Kind == NodeKind.Object)
                SelectorValidation.NodeSelector(at["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"], required);
            int i = 0;
            foreach (var term in node["preferredDuringSchedulingIgnoredDuringExecution"u8].Elements)
            {
                var place = at["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][i++];
                Weight(place["weight"], term["weight"u8]);
                SelectorValidation.NodeSelectorTerm(place["preference"], term["preference"u8], checkValues: false);
            }
        }
        PodAffinity(at["podAffinity"], affinity["podAffinity"u8]);
        PodAffinity(at["podAntiAffinity"], affinity["podAntiAffinity"u8]);
    }

    internal static void Tolerations(At at, ApiNode tolerations)
    {
        int i = 0;
        foreach (var toleration in tolerations.Elements)
        {
            var place = at[i++];
            var key = toleration["key"u8];
            var op = toleration["operator"u8];
            var value = toleration["value"u8];
            var effect = toleration["effect"u8];
            if (!key.Utf8.IsEmpty)
                place["key"].Format(Format.LabelKey, key);
            else if (!op.Equals("Exists"u8))
                place["operator"].Invalid(op.AsString(), "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
            if (!toleration["tolerationSeconds"u8].IsNullOrUndefined && !effect.Equals("NoExecute"u8))
                place["effect"].Invalid(effect.AsString(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
            if (op.Utf8.IsEmpty || op.Equals("Equal"u8))
            {
                if (!Formats.Is(Format.LabelValue, value.Utf8))
                    place["operator"].Invalid(value, string.Join(';', Formats.Problems(Format.LabelValue, value.AsString())));
            }
            else if (op.Equals("Exists"u8))
            {
                if (!value.Utf8.IsEmpty)
                    place["operator"].Invalid(value, "value must be empty when `operator` is 'Exists'");
            }
            else if (op.Equals("Lt"u8) || op.Equals("Gt"u8))
            {
                place["operator"].NotSupported(op, ["Equal", "Exists", "Lt", "Gt"]);
            }
            else
            {
                place["operator"].NotSupported(op, ["Equal", "Exists"]);
            }
            if (!effect.Utf8.IsEmpty)
                place["effect"].OneOf(effect, s_effects);
        }
    }

    /// <summary>Taints of a node: each key and effect once.</summary>
    internal static void Taints(At at, ApiNode taints)
    {
        HashSet<string>? seen = null;
        int i = 0;
        foreach (var taint in taints.Elements)
        {
            var place = at[i++];
            place["key"].Format(Format.LabelKey, taint["key"u8].AsString());
            if (!Formats.Is(Format.LabelValue, taint["value"u8].Utf8))
                place["value"].Invalid(taint["value"u8], string.Join(';', Formats.Problems(Format.LabelValue, taint["value"u8].AsString())));
            place["effect"].RequiredOneOf(taint["effect"u8], s_effects);
            seen ??= [];
            if (!seen.Add($"{taint["key"u8].AsString()}:{taint["effect"u8].AsString()}"))
                place.DuplicateValue(taint, s_taintType, "taints must be unique by key and effect pair");
        }
    }

    internal static void TopologySpread(At at, ApiNode constraints)
    {
        if (constraints.Count == 0)
            return;
        int i = 0;
        // Each is told of that comes again.
        var lasts = new Dictionary<(string Key, string Action), int>();
        foreach (var constraint in constraints.Elements)
            lasts[(constraint["topologyKey"u8].AsString(), constraint["whenUnsatisfiable"u8].AsString())] = i++;
        i = 0;
        foreach (var constraint in constraints.Elements)
        {
            var place = at[i];
            var key = constraint["topologyKey"u8];
            var action = constraint["whenUnsatisfiable"u8];
            if (constraint["maxSkew"u8].AsInt64() <= 0)
                place["maxSkew"].Invalid(constraint["maxSkew"u8].AsInt64(), "must be greater than zero");
            place["topologyKey"].RequiredText(key, "can not be empty");
            place["whenUnsatisfiable"].OneOf(action, ["DoNotSchedule", "ScheduleAnyway"]);
            if (lasts[(key.AsString(), action.AsString())] > i)
                place.Check.Errors.Duplicate(place["{topologyKey, whenUnsatisfiable}"].ToString(), $"{{{key.AsString()}, {action.AsString()}}}");
            if (constraint["minDomains"u8].TryGetInt64(out long minDomains))
            {
                if (minDomains <= 0)
                    place["minDomains"].Invalid(minDomains, "must be greater than zero");
                if (!action.Equals("DoNotSchedule"u8))
                    place["minDomains"].Invalid(minDomains, $"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action.AsString()}");
            }
            place["nodeAffinityPolicy"].OptionalOneOf(constraint["nodeAffinityPolicy"u8], ["Honor", "Ignore"]);
            place["nodeTaintsPolicy"].OptionalOneOf(constraint["nodeTaintsPolicy"u8], ["Honor", "Ignore"]);
            LabelKeys(place["matchLabelKeys"], constraint["matchLabelKeys"u8], constraint["labelSelector"u8]);
            SelectorValidation.LabelSelector(place["labelSelector"], constraint["labelSelector"u8]);
            i++;
        }
    }

    private static void PodAffinity(At at, ApiNode affinity)
    {
        int i = 0;
        foreach (var term in affinity["requiredDuringSchedulingIgnoredDuringExecution"u8].Elements)
            PodAffinityTerm(at["requiredDuringSchedulingIgnoredDuringExecution"][i++], term);
        i = 0;
        foreach (var term in affinity["preferredDuringSchedulingIgnoredDuringExecution"u8].Elements)
        {
            var place = at["preferredDuringSchedulingIgnoredDuringExecution"][i++];
            Weight(place["weight"], term["weight"u8]);
            PodAffinityTerm(place["podAffinityTerm"], term["podAffinityTerm"u8]);
        }
    }

    private static void PodAffinityTerm(At at, ApiNode term)
    {
        SelectorValidation.LabelSelector(at["labelSelector"], term["labelSelector"u8]);
        SelectorValidation.LabelSelector(at["namespaceSelector"], term["namespaceSelector"u8]);
        foreach (var ns in term["namespaces"u8].Elements)
            at["namespace"].Format(Format.Dns1123Label, ns);
        LabelKeys(at["matchLabelKeys"], term["matchLabelKeys"u8], term["labelSelector"u8]);
        LabelKeys(at["mismatchLabelKeys"], term["mismatchLabelKeys"u8], term["labelSelector"u8]);
        int i = 0;
        foreach (var key in term["matchLabelKeys"u8].Elements)
        {
            foreach (var other in term["mismatchLabelKeys"u8].Elements)
                if (other.Equals(key.Utf8))
                    at["matchLabelKeys"][i].Invalid(key, "exists in both matchLabelKeys and mismatchLabelKeys");
            i++;
        }
        at["topologyKey"].RequiredText(term["topologyKey"u8], "can not be empty");
        at["topologyKey"].Format(Format.LabelKey, term["topologyKey"u8]);
    }

    private static void LabelKeys(At at, ApiNode keys, ApiNode selector)
    {
        if (keys.Count == 0)
            return;
        if (selector.Kind != NodeKind.Object)
        {
            at.Forbidden("must not be specified when labelSelector is not set");
            return;
        }
        int i = 0;
        foreach (var key in keys.Elements)
            at[i++].Format(Format.LabelKey, key);
    }

    private static void Weight(At at, ApiNode weight)
    {
        long value = weight.AsInt64();
        if (value is <= 0 or > 100)
            at.Invalid(value, "must be in the range 1-100");
    }
}
