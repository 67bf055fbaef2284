using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>One ResourceQuota while a batch of writes is held against it: what its status allows and what is used, with the charges of the batch.</summary>
/// <remarks>Owned by the batch.</remarks>
internal sealed class QuotaState
{
    private readonly ResourceAmounts _stored;

    internal QuotaState(StoredObject stored, ApiNode quota)
    {
        Name = ObjectText.NameOf(quota);
        Revision = stored.Revision;
        Hard = ResourceAmounts.Read(quota["status"u8]["hard"u8]);
        Used = ResourceAmounts.Read(quota["status"u8]["used"u8]);
        Scopes = QuotaScope.Of(quota["spec"u8]);
        _stored = Used.Copy();
    }

    internal string Name { get; }

    /// <summary>The state that the charges rest on; a write of another one in between means: look again.</summary>
    internal long Revision { get; }

    internal ResourceAmounts Hard { get; }

    internal ResourceAmounts Used { get; private set; }

    internal IReadOnlyList<QuotaScope> Scopes { get; }

    internal bool IsCharged => !Used.SameAs(_stored);

    internal void Charge(ResourceAmounts amounts)
    {
        var used = Used.Copy();
        used.Add(amounts);
        Used = used;
    }
}
