using System.Globalization;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of what a job makes of failed pods and of success.</summary>
internal static class JobPolicyValidation
{
    private const int MaxRules = 20;
    private const int MaxConditions = 20;
    private const int MaxExitCodes = 255;
    private const int MaxIndexesBytes = 64 * 1024;

    internal static void Failure(At at, ApiNode spec)
    {
        var rules = spec["podFailurePolicy"u8]["rules"u8];
        if (rules.Count > MaxRules)
            at["rules"].TooMany(rules.Count, MaxRules);
        int i = 0;
        foreach (var rule in rules.Elements)
            FailureRule(at["rules"][i++], rule, spec);
    }

    internal static void Success(At at, ApiNode spec)
    {
        var rules = spec["successPolicy"u8]["rules"u8];
        if (rules.Count == 0)
            at["rules"].Required("at least one rules must be specified when the successPolicy is specified");
        if (rules.Count > MaxRules)
            at["rules"].TooMany(rules.Count, MaxRules);
        int i = 0;
        foreach (var rule in rules.Elements)
            SuccessRule(at["rules"][i++], rule, spec["completions"u8].AsInt64());
    }

    private static void FailureRule(At at, ApiNode rule, ApiNode spec)
    {
        var action = rule["action"u8];
        if (action.Utf8.IsEmpty)
            at["action"].Required("valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
        else if (!action.Equals("FailIndex"u8))
            at["action"].OneOf(action, ["Count", "FailIndex", "FailJob", "Ignore"]);
        else if (spec["backoffLimitPerIndex"u8].IsNullOrUndefined)
            at["action"].Invalid(action, "requires the backoffLimitPerIndex to be set");
        var codes = rule["onExitCodes"u8];
        var conditions = rule["onPodConditions"u8];
        bool hasCodes = codes.Kind == NodeKind.Object;
        if (hasCodes)
            ExitCodes(at["onExitCodes"], codes, spec["template"u8]["spec"u8]);
        Conditions(at["onPodConditions"], conditions);
        if (hasCodes && conditions.Count > 0)
            at.Check.Errors.Add(FieldErrorType.Invalid, at.ToString(), null, "specifying both OnExitCodes and OnPodConditions is not supported");
        if (!hasCodes && conditions.Count == 0)
            at.Check.Errors.Add(FieldErrorType.Invalid, at.ToString(), null, "specifying one of OnExitCodes and OnPodConditions is required");
    }

    private static void ExitCodes(At at, ApiNode codes, ApiNode podSpec)
    {
        var op = codes["operator"u8];
        at["operator"].RequiredOneOf(op, ["In", "NotIn"], "valid values: [\"In\" \"NotIn\"]");
        var container = codes["containerName"u8];
        if (!container.IsNullOrUndefined && !ResourceValidation.HasNamed(podSpec["containers"u8], container.Utf8) && !ResourceValidation.HasNamed(podSpec["initContainers"u8], container.Utf8))
            at["containerName"].Invalid(container, "must be one of the container or initContainer names in the pod template");
        var values = codes["values"u8];
        at = at["values"];
        if (values.Count == 0)
            at.Invalid(values, "at least one value is required");
        else if (values.Count > MaxExitCodes)
            at.TooMany(values.Count, MaxExitCodes);
        var seen = new HashSet<long>();
        long previous = long.MinValue;
        bool isOrdered = true;
        int i = 0;
        foreach (var value in values.Elements)
        {
            long code = value.AsInt64();
            if (op.Equals("In"u8) && code == 0)
                at[i].Invalid(0, "must not be 0 for the In operator");
            if (!seen.Add(code))
                at[i].Duplicate(value);
            isOrdered &= previous <= code;
            previous = code;
            i++;
        }
        if (!isOrdered)
            at.Invalid(values, "must be ordered");
    }

    private static void Conditions(At at, ApiNode conditions)
    {
        if (conditions.Count > MaxConditions)
            at.TooMany(conditions.Count, MaxConditions);
        int i = 0;
        foreach (var condition in conditions.Elements)
        {
            var place = at[i++];
            place["type"].Format(Format.LabelKey, condition["type"u8].AsString());
            place["status"].RequiredOneOf(condition["status"u8], ["False", "True", "Unknown"], "valid values: [\"False\" \"True\" \"Unknown\"]");
        }
    }

    private static void SuccessRule(At at, ApiNode rule, long completions)
    {
        bool hasCount = rule["succeededCount"u8].TryGetInt64(out long count);
        bool hasIndexes = !rule["succeededIndexes"u8].IsNullOrUndefined;
        if (!hasCount && !hasIndexes)
            at.Required("at least one of succeededCount or succeededIndexes must be specified");
        long total = 0;
        if (hasIndexes)
        {
            string indexes = rule["succeededIndexes"u8].AsString();
            if (indexes.Length > MaxIndexesBytes)
                at["succeededIndexes"].TooLong(MaxIndexesBytes);
            if (IndexesProblem(indexes, completions, out total) is { } problem)
                at["succeededIndexes"].Invalid(indexes, $"error parsing succeededIndexes: {problem}");
        }
        if (!hasCount)
            return;
        at = at["succeededCount"];
        at.NonNegative(rule["succeededCount"u8]);
        if (count > completions)
            at.Invalid(count, $"must be less than or equal to {completions} (the number of specified completions)");
        if (hasIndexes && count > total)
            at.Invalid(count, $"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)");
    }

    // Numbers and intervals, ascending: 0,2-4.
    private static string? IndexesProblem(string indexes, long completions, out long total)
    {
        total = 0;
        if (indexes.Length == 0)
            return null;
        long last = -1;
        foreach (string interval in indexes.Split(','))
        {
            var limits = interval.Split('-');
            string? problem = limits.Length > 2
                ? $"the fragment {GoText.Quote(interval)} violates the requirement that an index interval can have at most two parts separated by '-'"
                : Index(limits[0], completions, out _) ?? (limits.Length > 1 ? Index(limits[1], completions, out _) : null);
            if (problem is not null)
            {
                total = 0;
                return problem;
            }
            Index(limits[0], completions, out long first);
            Index(limits[^1], completions, out long end);
            if (limits.Length > 1 && first >= end)
                (problem, total) = ($"non-increasing order, previous: {first}, current: {end}", 0);
            else if (last >= first)
                (problem, total) = ($"non-increasing order, previous: {last}, current: {first}", 0);
            if (problem is not null)
                return problem;
            total += end - first + 1;
            last = end;
        }
        return null;
    }

    private static string? Index(string text, long completions, out long index)
    {
        if (!long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out index))
            return $"cannot convert string to integer for index: {GoText.Quote(text)}";
        return index >= completions ? $"too large index: {GoText.Quote(text)}" : null;
    }
}
