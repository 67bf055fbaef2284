namespace K3sFast.ApiServer;

/// <summary>
/// Whether mutating admission goes round once more: when a policy or webhook has changed the object, those before it that ask for it see the object again.
/// Belongs to one request.
/// </summary>
internal sealed class Reinvocation
{
    private readonly HashSet<string> _asked = [];
    private readonly HashSet<string> _toAsk = [];

    /// <summary>Set by who changed the object.</summary>
    internal bool IsWanted { get; set; }

    /// <summary>True in the second round.</summary>
    internal bool IsSecond { get; set; }

    /// <summary>The object as the policies left it in the first round.</summary>
    internal byte[]? LastOutput { get; set; }

    /// <summary>Notes that somebody who may be asked again was asked.</summary>
    internal void Asked(string who) => _asked.Add(who);

    /// <summary>All who were asked so far are to be asked again.</summary>
    internal void AskAgain()
    {
        _toAsk.UnionWith(_asked);
        _asked.Clear();
    }

    /// <summary>True if it is to be asked in this round.</summary>
    internal bool IsDue(string who) => !IsSecond || _toAsk.Contains(who);
}
