namespace K3sFast.ApiMachinery;

/// <summary>Upstream's bounds on what expressions may cost.</summary>
public static class CelLimits
{
    /// <summary>One evaluation: about 0.1 s upstream.</summary>
    public const long PerCall = 1_000_000;

    /// <summary>All expressions of an admission policy for one request.</summary>
    public const long PerPolicy = 10_000_000;

    /// <summary>All match conditions of a policy or webhook for one request.</summary>
    public const long MatchConditions = 2_500_000;

    /// <summary>Bytes of the text that a message expression makes.</summary>
    public const int MessageBytes = 5 * 1024;
}
