using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// The difference of two texts line by line in the unified form, with three lines of context and no header, matched as Python's difflib does it: the longest
/// common run first, then left and right of it; lines that are very frequent in a long text start no run.
/// </summary>
internal sealed class UnifiedDiff
{
    private const int Context = 3;
    private const int LongText = 200; // difflib's autojunk: from here on, lines above one in a hundred are "popular"

    private readonly string[] _old;
    private readonly string[] _new;
    private readonly Dictionary<string, List<int>> _places = new(StringComparer.Ordinal);

    private UnifiedDiff(string[] before, string[] after)
    {
        _old = before;
        _new = after;
        for (int i = 0; i < after.Length; i++)
        {
            if (!_places.TryGetValue(after[i], out var places))
                _places[after[i]] = places = [];
            places.Add(i);
        }
        if (after.Length < LongText)
            return;
        int popular = after.Length / 100 + 1;
        foreach (var line in _places.Where(entry => entry.Value.Count > popular).Select(static entry => entry.Key).ToList())
            _places.Remove(line);
    }

    /// <summary>The difference; empty when there is none. Every line ends with a line feed.</summary>
    internal static string Of(string before, string after)
    {
        var diff = new UnifiedDiff(before.Split('\n'), after.Split('\n'));
        var text = new StringBuilder();
        foreach (var group in diff.Groups())
            diff.Write(text, group);
        return text.ToString();
    }

    private void Write(StringBuilder text, List<Change> group)
    {
        text.Append(CultureInfo.InvariantCulture, $"@@ -{Range(group[0].OldStart, group[^1].OldEnd)} +{Range(group[0].NewStart, group[^1].NewEnd)} @@\n");
        foreach (var (oldStart, oldEnd, newStart, newEnd, isEqual) in group)
        {
            for (int i = oldStart; i < oldEnd; i++)
                text.Append(isEqual ? ' ' : '-').Append(_old[i]).Append('\n');
            for (int i = newStart; !isEqual && i < newEnd; i++)
                text.Append('+').Append(_new[i]).Append('\n');
        }
    }

    private static string Range(int start, int end)
    {
        int length = end - start;
        if (length == 1)
            return (start + 1).ToString(CultureInfo.InvariantCulture);
        return string.Create(CultureInfo.InvariantCulture, $"{(length == 0 ? start : start + 1)},{length}");
    }

    // Changes that are near each other stand in one group with the equal lines between and around them.
    private List<List<Change>> Groups()
    {
        var changes = Changes();
        var groups = new List<List<Change>>();
        if (!changes.Exists(static change => !change.IsEqual))
            return groups;
        if (changes[0].IsEqual)
            changes[0] = changes[0].LastOf(Context);
        if (changes[^1].IsEqual)
            changes[^1] = changes[^1].FirstOf(Context);
        var group = new List<Change>();
        foreach (var change in changes)
        {
            if (change.IsEqual && change.OldEnd - change.OldStart > Context * 2)
            {
                group.Add(change.FirstOf(Context));
                groups.Add(group);
                group = [change.LastOf(Context)];
                continue;
            }
            group.Add(change);
        }
        if (group.Exists(static change => !change.IsEqual))
            groups.Add(group);
        return groups;
    }

    private List<Change> Changes()
    {
        var changes = new List<Change>();
        int i = 0, j = 0;
        foreach (var (old, now, length) in Matches())
        {
            if (i < old || j < now)
                changes.Add(new Change(i, old, j, now, false));
            i = old + length;
            j = now + length;
            if (length > 0)
                changes.Add(new Change(old, i, now, j, true));
        }
        return changes;
    }

    private List<(int Old, int New, int Length)> Matches()
    {
        var found = new List<(int Old, int New, int Length)>();
        Collect(found, 0, _old.Length, 0, _new.Length);
        var joined = new List<(int Old, int New, int Length)>();
        foreach (var match in found)
        {
            if (joined.Count > 0 && joined[^1].Old + joined[^1].Length == match.Old && joined[^1].New + joined[^1].Length == match.New)
                joined[^1] = (joined[^1].Old, joined[^1].New, joined[^1].Length + match.Length);
            else
                joined.Add(match);
        }
        joined.Add((_old.Length, _new.Length, 0));
        return joined;
    }

    private void Collect(List<(int Old, int New, int Length)> found, int oldLow, int oldHigh, int newLow, int newHigh)
    {
        var (old, now, length) = Longest(oldLow, oldHigh, newLow, newHigh);
        if (length == 0)
            return;
        if (oldLow < old && newLow < now)
            Collect(found, oldLow, old, newLow, now);
        found.Add((old, now, length));
        if (old + length < oldHigh && now + length < newHigh)
            Collect(found, old + length, oldHigh, now + length, newHigh);
    }

    private (int Old, int New, int Length) Longest(int oldLow, int oldHigh, int newLow, int newHigh)
    {
        int bestOld = oldLow, bestNew = newLow, best = 0;
        var lengths = new Dictionary<int, int>();
        for (int i = oldLow; i < oldHigh; i++)
        {
            var next = new Dictionary<int, int>();
            foreach (int j in _places.GetValueOrDefault(_old[i]) ?? [])
            {
                if (j < newLow)
                    continue;
                if (j >= newHigh)
                    break;
                int length = next[j] = lengths.GetValueOrDefault(j - 1) + 1;
                if (length > best)
                    (bestOld, bestNew, best) = (i - length + 1, j - length + 1, length);
            }
            lengths = next;
        }
        // Popular lines start no run but lengthen one.
        while (bestOld > oldLow && bestNew > newLow && _old[bestOld - 1] == _new[bestNew - 1])
            (bestOld, bestNew, best) = (bestOld - 1, bestNew - 1, best + 1);
        while (bestOld + best < oldHigh && bestNew + best < newHigh && _old[bestOld + best] == _new[bestNew + best])
            best++;
        return (bestOld, bestNew, best);
    }

    private readonly record struct Change(int OldStart, int OldEnd, int NewStart, int NewEnd, bool IsEqual)
    {
        internal Change FirstOf(int lines) => this with { OldEnd = Math.Min(OldEnd, OldStart + lines), NewEnd = Math.Min(NewEnd, NewStart + lines) };

        internal Change LastOf(int lines) => this with { OldStart = Math.Max(OldStart, OldEnd - lines), NewStart = Math.Max(NewStart, NewEnd - lines) };
    }
}
