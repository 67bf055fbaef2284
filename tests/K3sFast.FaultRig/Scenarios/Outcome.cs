using System.Globalization;
using K3sFast.FaultRig.Checking;

namespace K3sFast.FaultRig.Scenarios;

/// <summary>What one kind of fault came to, over all its runs.</summary>
internal sealed class Outcome(string fault)
{
    private readonly List<string> _findings = [];

    public string Fault => fault;

    /// <summary>How often the fault struck.</summary>
    public int Strikes { get; set; }

    public int Acknowledged { get; private set; }

    public int Unknown { get; private set; }

    public int Watched { get; private set; }

    /// <summary>Acknowledged writes that were gone afterwards.</summary>
    public int Lost { get; set; }

    /// <summary>Writes that took effect twice, and changes that a watch showed twice.</summary>
    public int Repeated { get; private set; }

    /// <summary>Changes that a watch did not show.</summary>
    public int Gaps { get; private set; }

    public IReadOnlyList<string> Findings => _findings;

    public bool IsClean => _findings.Count == 0;

    /// <summary>What cannot be a finding but must be known (a fail point that was not reached).</summary>
    public List<string> Remarks { get; } = [];

    public void Add(Verdict verdict, string where, IEnumerable<string> complaints)
    {
        Count(verdict);
        Lost += verdict.Count(Law.AcknowledgedIsKept);
        Repeated += verdict.Count(Law.WriteHappensOnce) + verdict.Count(Law.WatchHasNoDuplicate);
        Gaps += verdict.Count(Law.WatchHasNoGap);
        if (!verdict.IsClean) _findings.Add($"{where}: {verdict}");
        foreach (string complaint in complaints) _findings.Add($"{where}: {complaint}");
    }

    /// <summary>Takes the numbers alone.</summary>
    public void Count(Verdict verdict)
    {
        Acknowledged += verdict.Acknowledged;
        Unknown += verdict.UnknownHappened + verdict.UnknownNever;
        Watched += verdict.WatchedChanges;
    }

    public void Find(string finding) => _findings.Add(finding);

    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{fault,-28} {Strikes,5} strikes {Acknowledged,8} acknowledged {Unknown,6} unanswered {Watched,8} watched: {Lost} lost, {Repeated} repeated, {Gaps} gaps; {(!IsClean ? $"BROKEN: {_findings.Count} findings" : Lost > 0 ? "lossy" : "clean")}{string.Concat(Remarks.Select(remark => $"; {remark}"))}");
}
