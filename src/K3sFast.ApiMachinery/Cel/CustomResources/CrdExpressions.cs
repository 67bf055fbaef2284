namespace K3sFast.ApiMachinery;

/// <summary>Judges the rules (x-kubernetes-validations) of a structural schema that is sound otherwise: they and their messages must compile.</summary>
internal static class CrdExpressions
{
    private static readonly TypeSchema? s_ruleType = Schema.BuiltIn.FindType("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ValidationRule");

    /// <summary>Judges all rules of a root schema, those of inner schemas first.</summary>
    internal static void Judge(At at, ApiNode schema) => Walk(at, schema, isRoot: true, null);

    // Lost: the list whose elements are not found again in the old object; null outside such lists. Fields of objects and values of maps always are.
    private static void Walk(At at, ApiNode schema, bool isRoot, string? lost)
    {
        if (schema.Kind != NodeKind.Object)
            return;
        Walk(at["additionalProperties"], schema["additionalProperties"u8], false, lost);
        foreach (var property in schema["properties"u8].Members)
            Walk(at["properties"].Key(property), property.Value, false, lost);
        Walk(at["items"], schema["items"u8], false, lost ?? (schema["x-kubernetes-list-type"u8].Equals("map"u8) ? null : at.ToString()));
        if (schema["x-kubernetes-validations"u8].Count > 0)
            Rules(at["x-kubernetes-validations"], schema, isRoot, lost);
    }

    private static void Rules(At at, ApiNode schema, bool isRoot, string? lost)
    {
        if (StructuralTypes.Of(schema, "self", isRoot || schema["x-kubernetes-embedded-resource"u8].AsBool()) is not { } type)
        {
            at.Internal("internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations");
            return;
        }
        var plain = CelEnvironment.Kubernetes.With("self", type);
        int i = 0;
        foreach (var rule in schema["x-kubernetes-validations"u8].Elements)
            Rule(at[i++], rule, plain.With("oldSelf", rule["optionalOldSelf"u8].AsBool() ? CelType.Optional(type) : type), lost);
    }

    private static void Rule(At at, ApiNode rule, CelEnvironment environment, string? lost)
    {
        string expression = rule["rule"u8].AsString(), message = rule["messageExpression"u8].AsString();
        var compiled = environment.Compile(expression);
        bool usesOld = compiled.Program is { } program && program.ResultType.Kind == CelKind.Bool && UsesOld(program.Tree);
        if (compiled.Problem is { } problem)
            at["rule"].InvalidValue(rule, s_ruleType, problem);
        else if (compiled.Program!.ResultType.Kind != CelKind.Bool)
            at["rule"].InvalidValue(rule, s_ruleType, "cel expression must evaluate to a bool");
        else if (message.Length > 0)
            Message(at["messageExpression"], rule, environment.Compile(message));
        if (!usesOld && !rule["optionalOldSelf"u8].IsNullOrUndefined)
            at["optionalOldSelf"].Invalid(rule["optionalOldSelf"u8], "may not be set if oldSelf is not used in rule");
        else if (usesOld && lost is not null)
            at["rule"].Invalid(expression, $"oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}");
    }

    private static void Message(At at, ApiNode rule, CelCompilation compiled)
    {
        if (compiled.Program is { } program)
        {
            if (program.ResultType.Kind != CelKind.String)
                at.InvalidValue(rule, s_ruleType, "messageExpression must evaluate to a string");
            return;
        }
        at.InvalidValue(rule, s_ruleType, compiled.Instantiation.Length > 0
            ? $"messageExpression instantiation failed: {compiled.Instantiation}"
            : $"messageExpression compilation failed: {compiled.Issues}");
    }

    private static bool UsesOld(CelExpr tree) => tree is CelExpr.Ident { Name: "oldSelf", Slot: < 0 } || tree.Children.Any(UsesOld);
}
