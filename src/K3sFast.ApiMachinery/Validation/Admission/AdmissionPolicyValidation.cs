namespace K3sFast.ApiMachinery;

/// <summary>Validation of admission policies and their bindings; expressions must be there and compile.</summary>
internal static class AdmissionPolicyValidation
{
    private const int MaxAuditAnnotations = 20;
    private const int MaxValueExpressionBytes = 5 * 1024;

    private static readonly string[] s_mutatingOperations = ["*", "CONNECT", "CREATE", "UPDATE"];
    private static readonly string[] s_celKeywords =
        ["false", "in", "null", "true", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"];

    internal static void ValidatingPolicy(At at, ApiNode policy) => ValidatingPolicyUpdate(at, policy, default);

    internal static void ValidatingPolicyUpdate(At at, ApiNode policy, ApiNode old)
    {
        var spec = policy["spec"u8];
        at = at["spec"];
        PolicyHead(at, spec);
        var compiler = Expressions(at, spec, old["spec"u8], hasVariables: spec["variables"u8].Count > 0);
        if (spec["validations"u8].Count + spec["auditAnnotations"u8].Count == 0)
        {
            at["validations"].Required("validations or auditAnnotations must contain at least one item");
            at["auditAnnotations"].Required("validations or auditAnnotations must contain at least one item");
            return;
        }
        int i = 0;
        foreach (var validation in spec["validations"u8].Elements)
            Validation(at["validations"][i++], validation, compiler);
        AuditAnnotations(at["auditAnnotations"], spec["auditAnnotations"u8], policy["metadata"u8]["name"u8].AsString(), compiler);
    }

    internal static void ValidatingPolicyStatus(At at, ApiNode policy, ApiNode old)
    {
        int i = 0;
        foreach (var warning in policy["status"u8]["typeChecking"u8]["expressionWarnings"u8].Elements)
        {
            var place = at["status"]["typeChecking"]["expressionWarnings"][i++];
            place["warning"].RequiredText(warning["warning"u8]);
            place["fieldRef"].RequiredText(warning["fieldRef"u8]);
        }
    }

    internal static void MutatingPolicy(At at, ApiNode policy) => MutatingPolicyUpdate(at, policy, default);

    internal static void MutatingPolicyUpdate(At at, ApiNode policy, ApiNode old)
    {
        var spec = policy["spec"u8];
        at = at["spec"];
        PolicyHead(at, spec);
        MutatingOperations(at["matchConstraints"]["resourceRules"]["operations"], spec["matchConstraints"u8]);
        var compiler = Expressions(at, spec, old["spec"u8], hasVariables: true);
        if (spec["mutations"u8].Count == 0)
            at["mutations"].Required("mutations must contain at least one item");
        int i = 0;
        foreach (var mutation in spec["mutations"u8].Elements)
            Mutation(at["mutations"][i++], mutation, compiler);
        at["reinvocationPolicy"].RequiredOneOf(spec["reinvocationPolicy"u8], ["IfNeeded", "Never"]);
    }

    internal static void ValidatingBinding(At at, ApiNode binding)
    {
        var spec = binding["spec"u8];
        at = at["spec"];
        BindingHead(at, spec);
        var actions = spec["validationActions"u8];
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var action in actions.Elements)
        {
            var place = at["validationActions"][i++];
            place.OneOf(action, ["Audit", "Deny", "Warn"]);
            if (!seen.Add(action.AsString()))
                place.Duplicate(action);
        }
        if (seen.Contains("Deny") && seen.Contains("Warn"))
            at["validationActions"].Invalid(actions, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)");
        if (seen.Count == 0)
            at["validationActions"].Required("at least one validation action is required");
    }

    internal static void ValidatingBindingUpdate(At at, ApiNode binding, ApiNode old) => ValidatingBinding(at, binding);

    internal static void MutatingBinding(At at, ApiNode binding)
    {
        var spec = binding["spec"u8];
        BindingHead(at["spec"], spec);
        MutatingOperations(at["spec"]["matchResources"]["resourceRules"]["operations"], spec["matchResources"u8]);
    }

    internal static void MutatingBindingUpdate(At at, ApiNode binding, ApiNode old) => MutatingBinding(at, binding);

    // Match conditions, unless nobody touched them or the parameters that they may name; and the variables, which all later expressions may use.
    private static AdmissionCompiler Expressions(At at, ApiNode spec, ApiNode old, bool hasVariables)
    {
        bool hasParams = spec["paramKind"u8].Kind == NodeKind.Object;
        if (!old.IsDefined || !spec["paramKind"u8].DeepEquals(old["paramKind"u8]) || !spec["matchConditions"u8].DeepEquals(old["matchConditions"u8]))
            WebhookValidation.MatchConditions(at["matchConditions"], spec["matchConditions"u8], hasParams);
        var compiler = new AdmissionCompiler(hasParams, hasVariables);
        Variables(at["variables"], spec["variables"u8], compiler);
        return compiler;
    }

    private static void PolicyHead(At at, ApiNode spec)
    {
        if (spec["failurePolicy"u8].IsNullOrUndefined)
            at["failurePolicy"].Required();
        else
            at["failurePolicy"].OneOf(spec["failurePolicy"u8], ["Fail", "Ignore"]);
        if (spec["paramKind"u8].Kind == NodeKind.Object)
            ParamKind(at["paramKind"], spec["paramKind"u8]);
        var constraints = spec["matchConstraints"u8];
        if (constraints.Kind != NodeKind.Object)
        {
            at["matchConstraints"].Required();
            return;
        }
        MatchResources(at["matchConstraints"], constraints);
        if (constraints["resourceRules"u8].Count == 0)
            at["matchConstraints"]["resourceRules"].Required();
    }

    private static void BindingHead(At at, ApiNode spec)
    {
        if (spec["policyName"u8].Utf8.IsEmpty)
            at["policyName"].Required();
        else
            at["policyName"].Format(Format.Dns1123Subdomain, spec["policyName"u8]);
        if (spec["paramRef"u8].Kind == NodeKind.Object)
            ParamRef(at["paramRef"], spec["paramRef"u8]);
        if (spec["matchResources"u8].Kind == NodeKind.Object)
            MatchResources(at["matchResources"], spec["matchResources"u8]);
    }

    private static void ParamKind(At at, ApiNode kind)
    {
        string apiVersion = kind["apiVersion"u8].AsString();
        var parts = apiVersion.Split('/');
        var (group, version) = apiVersion is "" or "/" ? ("", "") : parts.Length == 2 ? (parts[0], parts[1]) : ("", apiVersion);
        if (apiVersion.Length == 0)
        {
            at["apiVersion"].Required();
        }
        else if (parts.Length > 2)
        {
            at["apiVersion"].Invalid(apiVersion, $"unexpected GroupVersion string: {apiVersion}");
        }
        else
        {
            if (group.Length > 0 && Formats.Problems(Format.Dns1123Subdomain, group) is { Count: > 0 } groupProblems)
                at["apiVersion"].Invalid(group, string.Join(',', groupProblems));
            if (version.Length == 0)
                at["apiVersion"].Invalid(apiVersion, "version must be specified");
            else if (Formats.Problems(Format.Dns1035Label, version) is { Count: > 0 } versionProblems)
                at["apiVersion"].Invalid(version, string.Join(',', versionProblems));
        }
        string name = kind["kind"u8].AsString();
        if (name.Length == 0)
            at["kind"].Required();
        else if (Formats.Problems(Format.Dns1035Label, name.ToLowerInvariant()) is { Count: > 0 } kindProblems)
            at["kind"].Invalid(name, "may have mixed case, but should otherwise match: " + string.Join(',', kindProblems));
    }

    private static void ParamRef(At at, ApiNode reference)
    {
        var name = reference["name"u8];
        bool hasSelector = reference["selector"u8].Kind == NodeKind.Object;
        if (!name.Utf8.IsEmpty)
        {
            at["name"].Format(Format.PathSegment, name);
            if (hasSelector)
                at["name"].Forbidden("name and selector are mutually exclusive");
        }
        if (hasSelector)
        {
            SelectorValidation.LabelSelector(at["selector"], reference["selector"u8]);
            if (!name.Utf8.IsEmpty)
                at["selector"].Forbidden("name and selector are mutually exclusive");
        }
        if (name.Utf8.IsEmpty && !hasSelector)
            at.Required("one of name or selector must be specified");
        at["parameterNotFoundAction"].RequiredOneOf(reference["parameterNotFoundAction"u8], ["Deny", "Allow"]);
    }

    private static void MatchResources(At at, ApiNode resources)
    {
        if (resources["matchPolicy"u8].IsNullOrUndefined)
            at["matchPolicy"].Required();
        else
            at["matchPolicy"].OneOf(resources["matchPolicy"u8], ["Equivalent", "Exact"]);
        foreach (string selector in (ReadOnlySpan<string>)["namespaceSelector", "objectSelector"])
        {
            var value = resources[System.Text.Encoding.ASCII.GetBytes(selector)];
            if (value.Kind != NodeKind.Object)
                at[selector].Required();
            else
                SelectorValidation.LabelSelector(at[selector], value);
        }
        Rules(at["resourceRules"], resources["resourceRules"u8]);
        Rules(at["excludeResourceRules"], resources["excludeResourceRules"u8]);
    }

    private static void Rules(At at, ApiNode rules)
    {
        int i = 0;
        foreach (var rule in rules.Elements)
        {
            var place = at[i++];
            var names = new HashSet<string>();
            int j = 0;
            foreach (var name in rule["resourceNames"u8].Elements)
            {
                place["resourceNames"][j].Format(Format.PathSegment, name);
                if (!names.Add(name.AsString()))
                    place["resourceNames"][j].Duplicate(name);
                j++;
            }
            WebhookValidation.Rule(place, rule);
        }
    }

    private static void MutatingOperations(At at, ApiNode resources)
    {
        foreach (var rule in resources["resourceRules"u8].Elements)
            foreach (var operation in rule["operations"u8].Elements)
                at.OneOf(operation, s_mutatingOperations);
    }

    private static void Variables(At at, ApiNode variables, AdmissionCompiler compiler)
    {
        int i = 0;
        foreach (var variable in variables.Elements)
        {
            var place = at[i++];
            if (WebhookValidation.IsBlank(variable["name"u8]))
                place["name"].Required("name is not specified");
            else if (!Formats.Is(Format.CIdentifier, variable["name"u8].Utf8) || Array.IndexOf(s_celKeywords, variable["name"u8].AsString()) >= 0)
                place["name"].Invalid(variable["name"u8], "must be a valid CEL identifier");
            if (WebhookValidation.IsBlank(variable["expression"u8]))
                place["expression"].Required("expression is not specified");
            else
                WebhookValidation.Expression(place["expression"], compiler.AddVariable(variable["name"u8].AsString(), variable["expression"u8].AsString()));
        }
    }

    private static void Validation(At at, ApiNode validation, AdmissionCompiler compiler)
    {
        if (WebhookValidation.IsBlank(validation["expression"u8]))
            at["expression"].Required("expression is not specified");
        else
            WebhookValidation.Expression(at["expression"], compiler.Compile(validation["expression"u8].AsString(), AdmissionExpressionUse.Validation));
        if (!validation["messageExpression"u8].Utf8.IsEmpty && WebhookValidation.IsBlank(validation["messageExpression"u8]))
            at["messageExpression"].Invalid(validation["messageExpression"u8], "must be non-empty if specified");
        else if (!validation["messageExpression"u8].Utf8.IsEmpty)
            WebhookValidation.Expression(at["messageExpression"], compiler.Compile(validation["messageExpression"u8].AsString(), AdmissionExpressionUse.Message));
        string message = validation["message"u8].AsString();
        if (message.Length > 0 && string.IsNullOrWhiteSpace(message))
            at["message"].Invalid(message, "must be non-empty if specified");
        else if (message.Trim().AsSpan().IndexOfAny('\n', '\r') >= 0)
            at["message"].Invalid(message, "must not contain line breaks");
        at["reason"].OptionalOneOf(validation["reason"u8], ["Forbidden", "Invalid", "RequestEntityTooLarge"]);
    }

    private static void AuditAnnotations(At at, ApiNode annotations, string policyName, AdmissionCompiler compiler)
    {
        if (annotations.Count > MaxAuditAnnotations)
            at.Invalid(annotations, $"must not have more than {MaxAuditAnnotations} auditAnnotations");
        var keys = new HashSet<string>();
        int i = 0;
        foreach (var annotation in annotations.Elements)
        {
            var place = at[i++];
            var key = annotation["key"u8];
            if (policyName.Length > 0)
                place["key"].Format(Format.LabelKey, $"{policyName}/{key.AsString()}");
            else
                place["key"].Invalid(key.AsString(), "requires metadata.name be non-empty");
            if (WebhookValidation.IsBlank(annotation["valueExpression"u8]))
                place["valueExpression"].Required("valueExpression is not specified");
            else if (annotation["valueExpression"u8].AsString().Trim().Length > MaxValueExpressionBytes)
                place["valueExpression"].Required($"must not exceed {MaxValueExpressionBytes} bytes in length");
            else
                WebhookValidation.Expression(place["valueExpression"],
                    compiler.Compile(annotation["valueExpression"u8].AsString().Trim(), AdmissionExpressionUse.AuditAnnotation), annotation["valueExpression"u8].AsString());
            if (!keys.Add(key.AsString()))
                place["key"].Duplicate(key);
        }
    }

    private static void Mutation(At at, ApiNode mutation, AdmissionCompiler compiler)
    {
        string type = mutation["patchType"u8].AsString();
        if (type.Length == 0)
        {
            at["patchType"].Required();
            return;
        }
        if (type is not ("JSONPatch" or "ApplyConfiguration"))
        {
            at["patchType"].NotSupported(mutation["patchType"u8], ["ApplyConfiguration", "JSONPatch"]);
            return;
        }
        var (own, other) = type == "JSONPatch" ? ("jsonPatch", "applyConfiguration") : ("applyConfiguration", "jsonPatch");
        var patch = mutation[System.Text.Encoding.ASCII.GetBytes(own)];
        if (patch.Kind != NodeKind.Object)
            at[own].Required($"must be specified when patchType is {type}");
        else if (WebhookValidation.IsBlank(patch["expression"u8]))
            at[own]["expression"].Required();
        else
            WebhookValidation.Expression(at[own]["expression"], compiler.Compile(
                patch["expression"u8].AsString().Trim(), type == "JSONPatch" ? AdmissionExpressionUse.JsonPatch : AdmissionExpressionUse.ApplyConfiguration));
        if (mutation[System.Text.Encoding.ASCII.GetBytes(other)].Kind == NodeKind.Object)
            at[other].Invalid($"{{{other}}}", $"must not be specified when patchType is {type}");
    }
}
