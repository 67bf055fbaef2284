namespace K3sFast.ApiMachinery;

/// <summary>Checks the text of a cron schedule: five fields, or one of the @ words. What runs when is the controller's to know.</summary>
internal static class CronSchedule
{
    private static readonly (string Name, int Low, int High)[] s_fields = [("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6)];
    private static readonly string[] s_months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    private static readonly string[] s_days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

    /// <summary>What is wrong with a schedule; null when nothing is.</summary>
    internal static string? Problem(string schedule)
    {
        if (schedule.StartsWith("TZ=", StringComparison.Ordinal) || schedule.StartsWith("CRON_TZ=", StringComparison.Ordinal))
            schedule = schedule[(schedule.IndexOf(' ') + 1)..].TrimStart();
        if (schedule.StartsWith('@'))
            return schedule is "@yearly" or "@annually" or "@monthly" or "@weekly" or "@daily" or "@midnight" or "@hourly" || schedule.StartsWith("@every ", StringComparison.Ordinal)
                ? null
                : $"unrecognized descriptor: {schedule}";
        var fields = schedule.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length != 5)
            return $"expected exactly 5 fields, found {fields.Length}: [{string.Join(' ', fields)}]";
        for (int i = 0; i < fields.Length; i++)
            foreach (string part in fields[i].Split(','))
                if (PartProblem(part, i) is { } problem)
                    return problem;
        return null;
    }

    private static string? PartProblem(string part, int field)
    {
        var (_, low, high) = s_fields[field];
        var stepParts = part.Split('/');
        if (stepParts.Length > 2)
            return $"too many slashes: {part}";
        if (stepParts.Length == 2 && (!int.TryParse(stepParts[1], out int step) || step <= 0))
            return step == 0 && stepParts[1] == "0" ? $"step of range should be a positive number: {part}" : $"failed to parse int from {stepParts[1]}: strconv.Atoi: parsing \"{stepParts[1]}\": invalid syntax";
        if (stepParts[0] is "*" or "?")
            return null;
        var ends = stepParts[0].Split('-');
        if (ends.Length > 2)
            return $"too many hyphens: {part}";
        if (Number(ends[0], field) is not { } start)
            return $"failed to parse int from {ends[0]}: strconv.Atoi: parsing \"{ends[0]}\": invalid syntax";
        int end = start;
        if (ends.Length == 2)
        {
            if (Number(ends[1], field) is not { } parsed)
                return $"failed to parse int from {ends[1]}: strconv.Atoi: parsing \"{ends[1]}\": invalid syntax";
            end = parsed;
        }
        if (start < low)
            return $"beginning of range ({start}) below minimum ({low}): {part}";
        if (end > high)
            return $"end of range ({end}) above maximum ({high}): {part}";
        return start > end ? $"beginning of range ({start}) beyond end of range ({end}): {part}" : null;
    }

    private static int? Number(string text, int field)
    {
        if (int.TryParse(text, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out int number))
            return number;
        string lower = text.ToLowerInvariant();
        int month = field == 3 ? Array.IndexOf(s_months, lower) : -1;
        int day = field == 4 ? Array.IndexOf(s_days, lower) : -1;
        return month >= 0 ? month + 1 : day >= 0 ? day : null;
    }
}
