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

    public int Lost { get; set; }

    public IReadOnlyList<string> Findings => _findings;

    public bool IsClean => _findings.Count == 0;

    /// <summary>What cannot be a finding but must be known (a fail point that was not reached).</summary>
    public List<string> Remarks { get; } = [];

    public void Add(Verdict verdict, string where, IEnumerable<string> complaints)
    {
        Count(verdict);
        Lost += verdict.Count(Law.AcknowledgedIsKept);
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
        $"{fault,-28} {Strikes,5} strikes {Acknowledged,9} acknowledged {Unknown,6} unanswered {Watched,9} watched  {(IsClean ? "clean" : $"BROKEN: {_findings.Count} findings")}{string.Concat(Remarks.Select(remark => $"; {remark}"))}");
}
