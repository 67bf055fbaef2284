using System.Globalization;

namespace K3sFast.ApiMachinery;

/// <summary>What the rules of one schema may cost by their estimates: each by itself, and all together.</summary>
internal sealed class CrdBudget(bool isStored)
{
    // Upstream's figures: the first is some seconds' work upstream.
    private const ulong MaxOfOne = 10_000_000;
    private const ulong MaxOfAll = 100_000_000;

    // Of a schema that costs too much, so many rules are named that take a hundredth of the budget or more.
    private const int MaxNamed = 4;

    private readonly List<(At At, ulong Cost)> _expensive = [];
    private ulong _total;

    /// <summary>Notes what an expression may cost, and refuses it when that is too much for one.</summary>
    internal void Spend(At at, string what, ulong cost)
    {
        if (!isStored && cost > MaxOfOne)
            at.Forbidden(Exceeds(what, cost, MaxOfOne));
        _total = CelSize.Add(_total, cost);
        if (cost >= MaxOfAll / 100)
            _expensive.Add((at, cost));
    }

    /// <summary>Refuses the schema when all its expressions cost too much together.</summary>
    internal void JudgeTotal(At at)
    {
        if (_total <= MaxOfAll)
            return;
        foreach (var (place, _) in _expensive.OrderByDescending(static rule => rule.Cost).Take(MaxNamed))
            place.Forbidden("contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema");
        at.Forbidden(Exceeds("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", _total, MaxOfAll));
    }

    private static string Exceeds(string what, ulong cost, ulong limit)
    {
        double factor = (double)cost / limit;
        string text = factor switch
        {
            > 100 => "more than 100x",
            < 1.5 => string.Create(CultureInfo.InvariantCulture, $"{factor:F6}x"),
            _ => string.Create(CultureInfo.InvariantCulture, $"{factor:F1}x"),
        };
        return $"{what} exceeds budget by factor of {text} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    }
}
