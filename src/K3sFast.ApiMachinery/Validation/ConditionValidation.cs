namespace K3sFast.ApiMachinery;

/// <summary>Validation of conditions of the common shape: type, status, time, reason and message.</summary>
internal static class ConditionValidation
{
    private const int MaxReason = 1024;
    private const int MaxMessage = 32 * 1024;

    /// <summary>Every condition by itself, and each type once.</summary>
    internal static void Check(At at, ApiNode conditions)
    {
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var condition in conditions.Elements)
        {
            var place = at[i++];
            if (!seen.Add(condition["type"u8].AsString()))
                place["type"].Duplicate(condition["type"u8]);
            place["type"].Format(Format.LabelKey, condition["type"u8].AsString());
            place["status"].OneOf(condition["status"u8], ["False", "True", "Unknown"]);
            if (condition["observedGeneration"u8].AsInt64() < 0)
                place["observedGeneration"].Invalid(condition["observedGeneration"u8], "must be greater than or equal to zero");
            if (condition["lastTransitionTime"u8].Utf8.IsEmpty)
                place["lastTransitionTime"].Required();
            var reason = condition["reason"u8];
            if (reason.Utf8.IsEmpty)
                place["reason"].Required();
            else if (!IsReason(reason.AsString()))
                place["reason"].Invalid(reason, "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an "
                    + "alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
                    + "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')");
            if (reason.Utf8.Length > MaxReason)
                place["reason"].TooLong(MaxReason);
            if (condition["message"u8].Utf8.Length > MaxMessage)
                place["message"].TooLong(MaxMessage);
        }
    }

    private static bool IsReason(string reason) => char.IsAsciiLetter(reason[0]) && reason[^1] is not (',' or ':')
        && reason.All(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or ',' or ':');
}
