namespace K3sFast.AddOns.Dns;

/// <summary>What plugins remember of one question between its way down and the answer's way up.</summary>
internal sealed class ExchangeNotes
{
    /// <summary>Rewrites that the answer has to be led back through, in the order in which they were done.</summary>
    internal List<RewriteNote> Rewrites { get; } = [];

    /// <summary>The name that autopath's search is for (the question without its first search domain), or null while it does not search.</summary>
    internal byte[]? SearchBase { get; set; }

    /// <summary>Which of the search path is being tried.</summary>
    internal int SearchIndex { get; set; }

    /// <summary>The search path of the client.</summary>
    internal byte[][] SearchPath { get; set; } = [];

    /// <summary>DNS64 asks for A to make AAAA of.</summary>
    internal bool TranslatesAddresses { get; set; }

    /// <summary>What NSID tells, or null.</summary>
    internal byte[]? Nsid { get; set; }

    /// <summary>The answer came whole from another server, or out of the cache: its order is not ours yet.</summary>
    internal bool IsForeign { get; set; }

    /// <summary>What is served although it is old, should the refresh fail.</summary>
    internal ForeignAnswer? Stale { get; set; }

    /// <summary>The question of the cache itself: what is kept must not answer it.</summary>
    internal bool IsRefresh { get; set; }

    internal void Clear()
    {
        if (Rewrites.Count > 0) Rewrites.Clear();
        (SearchBase, SearchIndex, SearchPath, TranslatesAddresses, Nsid, IsForeign, Stale, IsRefresh) = (null, 0, [], false, null, false, null, false);
    }
}
