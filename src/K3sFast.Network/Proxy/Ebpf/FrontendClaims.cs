namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>Who is reached where. Two Services may claim one external address: the first has it, the other waits for it to go.</summary>
/// <remarks>One thread.</remarks>
internal sealed class FrontendClaims<TValue> where TValue : struct, IEquatable<TValue>
{
    private readonly Dictionary<SocketEndpoint, Claim> _claims = [];

    /// <summary>Places that somebody has.</summary>
    internal int Count => _claims.Count;

    /// <summary>What everybody should see.</summary>
    internal Dictionary<SocketEndpoint, TValue> Snapshot() => _claims.ToDictionary(static pair => pair.Key, static pair => pair.Value.Value);

    /// <summary>Claims a place, or says anew what is to be there.</summary>
    internal void Announce(SocketEndpoint key, string owner, TValue value, Dictionary<SocketEndpoint, TValue?> changes)
    {
        if (!_claims.TryGetValue(key, out var first))
        {
            _claims[key] = new Claim(owner) { Value = value };
            changes[key] = value;
            return;
        }
        var claim = first;
        while (claim.Owner != owner && claim.Next is not null) claim = claim.Next;
        if (claim.Owner != owner)
        {
            claim.Next = new Claim(owner) { Value = value };
            return;
        }
        var isSame = claim.Value.Equals(value);
        claim.Value = value;
        if (claim == first && !isSame) changes[key] = value;
    }

    /// <summary>Gives a place up.</summary>
    internal void Withdraw(SocketEndpoint key, string owner, Dictionary<SocketEndpoint, TValue?> changes)
    {
        if (!_claims.TryGetValue(key, out var first)) return;
        if (first.Owner == owner)
        {
            if (first.Next is { } next) _claims[key] = next;
            else _claims.Remove(key);
            changes[key] = first.Next?.Value;
            return;
        }
        for (var claim = first; claim.Next is { } next; claim = next)
        {
            if (next.Owner != owner) continue;
            claim.Next = next.Next;
            return;
        }
    }

    private sealed class Claim(string owner)
    {
        internal string Owner { get; } = owner;
        internal TValue Value { get; set; }
        internal Claim? Next { get; set; }
    }
}
