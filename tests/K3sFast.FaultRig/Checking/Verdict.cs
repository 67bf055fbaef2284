using System.Runtime.InteropServices;

namespace K3sFast.FaultRig.Checking;

/// <summary>What the checker found. Keeps all counts and the first pieces of evidence.</summary>
internal sealed class Verdict
{
    // More evidence than this is read by nobody.
    private const int MaxKept = 12;

    private readonly List<Violation> _kept = [];
    private readonly Dictionary<Law, int> _counts = [];

    public bool IsClean => _counts.Count == 0;

    public IReadOnlyList<Violation> Violations => _kept;

    /// <summary>Writes answered with success, unanswered ones that happened, and unanswered ones that did not.</summary>
    public int Acknowledged { get; set; }

    public int UnknownHappened { get; set; }

    public int UnknownNever { get; set; }

    public int Reads { get; set; }

    public int WatchedChanges { get; set; }

    public int Count(Law law) => _counts.GetValueOrDefault(law);

    public void Add(Law law, string evidence)
    {
        CollectionsMarshal.GetValueRefOrAddDefault(_counts, law, out _)++;
        if (_kept.Count < MaxKept) _kept.Add(new Violation(law, evidence));
    }

    public override string ToString() => IsClean
        ? $"clean: {Acknowledged} acknowledged, {UnknownHappened}+{UnknownNever} unknown (happened+not), {Reads} reads, {WatchedChanges} watched changes"
        : $"BROKEN {string.Join(", ", _counts.Select(pair => $"{pair.Key} x{pair.Value}"))}\n  {string.Join("\n  ", _kept)}";
}
