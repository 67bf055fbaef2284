namespace K3sFast.ApiServer.Tests;

/// <summary>The machine's clock, put ahead: what would take a while has taken it.</summary>
internal sealed class AheadClock : TimeProvider
{
    internal TimeSpan Ahead { get; set; }

    public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Ahead;
}
