using System.Globalization;

namespace K3sFast.ApiMachinery;

/// <summary>The indexes of an indexed job as its status writes them: <c>1,3-5,7</c>, in increasing order, each below the completions.</summary>
internal static class JobIndexes
{
    /// <summary>What is wrong with the text, in upstream's words; null when nothing is.</summary>
    internal static string? Problem(string text, long completions)
    {
        if (text.Length == 0)
            return null;
        long? last = null;
        foreach (string interval in text.Split(','))
        {
            if (Read(interval, completions, out long first, out long end) is { } problem)
                return problem;
            if (last >= first)
                return $"non-increasing order, previous: {last}, current: {first}";
            last = end;
        }
        return null;
    }

    /// <summary>The first index in both lists; null when there is none. Intervals that cannot be read are passed over.</summary>
    internal static long? Overlap(string completed, string failed, long completions)
    {
        var left = Intervals(completed, completions);
        var right = Intervals(failed, completions);
        for (int i = 0, j = 0; i < left.Count && j < right.Count;)
        {
            if (left[i].First <= right[j].Last && right[j].First <= left[i].Last)
                return Math.Max(left[i].First, right[j].First);
            if (left[i].First <= right[j].First)
                i++;
            else
                j++;
        }
        return null;
    }

    private static List<(long First, long Last)> Intervals(string text, long completions)
    {
        var intervals = new List<(long, long)>();
        foreach (string interval in text.Length == 0 ? [] : text.Split(','))
            if (Read(interval, completions, out long first, out long last) is null)
                intervals.Add((first, last));
        return intervals;
    }

    private static string? Read(string interval, long completions, out long first, out long last)
    {
        first = last = 0;
        string[] limits = interval.Split('-');
        if (limits.Length > 2)
            return $"the fragment {GoText.Quote(interval)} violates the requirement that an index interval can have at most two parts separated by '-'";
        if (!TryRead(limits[0], out first))
            return $"cannot convert string to integer for index: {GoText.Quote(limits[0])}";
        if (first >= completions)
            return $"too large index: {GoText.Quote(limits[0])}";
        last = first;
        if (limits.Length == 1)
            return null;
        if (!TryRead(limits[1], out last))
            return $"cannot convert string to integer for index: {GoText.Quote(limits[1])}";
        if (last >= completions)
            return $"too large index: {GoText.Quote(limits[1])}";
        return first >= last ? $"non-increasing order, previous: {first}, current: {last}" : null;
    }

    private static bool TryRead(string text, out long value) => long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
}
