namespace K3sFast.Controllers;

/// <summary>How one controller fares: running now, how often it fell and was started again, and what it fell over last.</summary>
public sealed record ControllerHealth(string Name, bool IsRunning, int Restarts, string? LastFailure);
