namespace K3sFast.ApiMachinery;

/// <summary>
/// Judges the rules (x-kubernetes-validations) of a structural schema that is sound otherwise: they and their messages must compile, and by their estimates
/// neither one of them nor all together may cost too much.
/// </summary>
internal static class CrdExpressions
{
    private static readonly TypeSchema? s_ruleType = Schema.BuiltIn.FindType("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ValidationRule");

    /// <summary>Judges all rules of a root schema, those of inner schemas first. A schema that is stored already keeps rules that cost too much by themselves.</summary>
    internal static void Judge(At at, ApiNode schema, bool isStored)
    {
        var budget = new CrdBudget(isStored);
        new Walk(budget).Schema(at, schema, isRoot: true, null, 1);
        budget.JudgeTotal(at);
    }

    private readonly struct Walk(CrdBudget budget)
    {
        // Lost: the list whose elements are not found again in the old object; null outside such lists. Fields of objects and values of maps always are.
        // Count: how often values of the schema may stand in an object; null = nothing bounds it.
        internal void Schema(At at, ApiNode schema, bool isRoot, string? lost, ulong? count)
        {
            StackGuard.Enter();
            if (schema.Kind != NodeKind.Object)
                return;
            var below = count is { } times && Elements(schema) is { } each ? CelSize.Multiply(times, each) : (ulong?)null;
            Schema(at["additionalProperties"], schema["additionalProperties"u8], false, lost, below);
            foreach (var property in schema["properties"u8].Members)
                Schema(at["properties"].Key(property), property.Value, false, lost, below);
            Schema(at["items"], schema["items"u8], false, lost ?? (schema["x-kubernetes-list-type"u8].Equals("map"u8) ? null : at.ToString()), below);
            if (schema["x-kubernetes-validations"u8].Count > 0)
                Rules(at["x-kubernetes-validations"], schema, isRoot, lost, count);
        }

        // How many values one value of this schema may have below it; null = any number.
        private static ulong? Elements(ApiNode schema) => schema["type"u8].AsString() switch
        {
            "object" when !schema["additionalProperties"u8].IsNullOrUndefined => Bound(schema["maxProperties"u8]),
            "array" => Bound(schema["maxItems"u8]),
            _ => 1,
        };

        private static ulong? Bound(ApiNode limit) => limit.Kind == NodeKind.Number ? (ulong)Math.Max(limit.AsInt64(), 0) : null;

        private void Rules(At at, ApiNode schema, bool isRoot, string? lost, ulong? count)
        {
            if (StructuralTypes.Of(schema, "self", isRoot || schema["x-kubernetes-embedded-resource"u8].AsBool()) is not { } self)
            {
                at.Internal("internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations");
                return;
            }
            var plain = CelEnvironment.Kubernetes.With("self", self.Type);
            // Without a bound, as often as the shortest value and a comma fit into a request.
            ulong times = count ?? (ulong)(StructuralTypes.MaxRequest / (self.MinBytes + 1));
            int i = 0;
            foreach (var rule in schema["x-kubernetes-validations"u8].Elements)
                Rule(at[i++], rule, plain.With("oldSelf", rule["optionalOldSelf"u8].AsBool() ? CelType.Optional(self.Type) : self.Type), self, lost, times);
        }

        private void Rule(At at, ApiNode rule, CelEnvironment environment, CelShape self, string? lost, ulong times)
        {
            string expression = rule["rule"u8].AsString(), message = rule["messageExpression"u8].AsString();
            var compiled = environment.Compile(expression);
            bool usesOld = compiled.Program is { } program && program.ResultType.Kind == CelKind.Bool && UsesOld(program.Tree);
            if (compiled.Problem is { } problem)
            {
                at["rule"].InvalidValue(rule, s_ruleType, problem);
            }
            else if (compiled.Program!.ResultType.Kind != CelKind.Bool)
            {
                at["rule"].InvalidValue(rule, s_ruleType, "cel expression must evaluate to a bool");
            }
            else
            {
                budget.Spend(at["rule"], "estimated rule cost", CelSize.Multiply(compiled.Program.WorstCase(self.SizeAt), times));
                if (message.Length > 0)
                    Message(at["messageExpression"], rule, environment.Compile(message), self);
            }
            if (!usesOld && !rule["optionalOldSelf"u8].IsNullOrUndefined)
                at["optionalOldSelf"].Invalid(rule["optionalOldSelf"u8], "may not be set if oldSelf is not used in rule");
            else if (usesOld && lost is not null)
                at["rule"].Invalid(expression, $"oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}");
        }

        private void Message(At at, ApiNode rule, CelCompilation compiled, CelShape self)
        {
            if (compiled.Program is { } program)
            {
                if (program.ResultType.Kind != CelKind.String)
                    at.InvalidValue(rule, s_ruleType, "messageExpression must evaluate to a string");
                else
                    budget.Spend(at, "estimated messageExpression cost", program.WorstCase(self.SizeAt));
                return;
            }
            at.InvalidValue(rule, s_ruleType, compiled.Instantiation.Length > 0
                ? $"messageExpression instantiation failed: {compiled.Instantiation}"
                : $"messageExpression compilation failed: {compiled.Issues}");
        }

        private static bool UsesOld(CelExpr tree) => tree is CelExpr.Ident { Name: "oldSelf", Slot: < 0 } || tree.Children.Any(UsesOld);
    }
}
