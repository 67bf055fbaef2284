using System.Diagnostics;

namespace K3sFast.FaultRig.Scenarios;

/// <summary>How long the rig may strike. When it is over, what has run is judged; nothing is cut short but the number of strikes.</summary>
internal sealed class RigTime(TimeSpan? limit)
{
    private readonly Stopwatch _since = Stopwatch.StartNew();

    public static RigTime Endless { get; } = new(null);

    public bool IsOver => _since.Elapsed > limit;

    /// <summary>Says in the outcome that fewer strikes were made than were wanted.</summary>
    public Outcome Note(Outcome outcome, int wanted)
    {
        if (outcome.Strikes < wanted && IsOver) outcome.Remarks.Add($"of {wanted}: the time was over");
        return outcome;
    }
}
