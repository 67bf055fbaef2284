namespace K3sFast.Configuration;

/// <summary>What a flag's value looks like on the command line.</summary>
internal enum FlagKind
{
    /// <summary><c>--x</c>, <c>--x=true</c> or <c>--x=false</c>; never takes the next word.</summary>
    Switch,
    Text,
    Number,
    /// <summary>Repeatable; a value is never split on commas.</summary>
    List,
    /// <summary>Repeatable, and each value may itself be a comma-separated list (addresses, CIDRs).</summary>
    CommaList,
}

/// <summary>How much of a k3s flag is real in this version.</summary>
internal enum FlagState
{
    Works,
    /// <summary>Accepted with one warning line: leaving it out changes nothing that the user's data depends on.</summary>
    NotYet,
    /// <summary>Fatal when used: going on without it would store data in the wrong place, unencrypted, or in another cluster.</summary>
    Refused,
    /// <summary>An old name; accepted with a warning that names its successor.</summary>
    Deprecated,
}

/// <summary>One row of <see cref="FlagTable"/>: everything that is known about a flag of <c>k3s server</c>.</summary>
/// <remarks>Immutable. The config file's key is <see cref="Name"/>; the order of <see cref="Environment"/> is the order of preference.</remarks>
internal sealed record FlagSpec(string Name, FlagKind Kind, FlagState State, string Group, string Help)
{
    /// <summary>One-letter form without its dash, or empty.</summary>
    public string Short { get; init; } = "";
    public string[] Environment { get; init; } = [];
    /// <summary>Default as text, empty when there is none or when it is computed.</summary>
    public string Default { get; init; } = "";
    public bool IsHidden { get; init; }
    /// <summary>For <see cref="FlagState.Deprecated"/>: what to write instead.</summary>
    public string Successor { get; init; } = "";
    public bool TakesMany => Kind is FlagKind.List or FlagKind.CommaList;
}
