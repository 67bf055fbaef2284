namespace K3sFast.Interop.NfTables;

/// <summary>linux/netfilter.h (nf_inet_hooks).</summary>
public enum NftHook
{
    /// <summary>Everything that comes in, before routing.</summary>
    Prerouting = 0,

    /// <summary>To this host.</summary>
    Input = 1,

    /// <summary>Through this host.</summary>
    Forward = 2,

    /// <summary>From this host.</summary>
    Output = 3,

    /// <summary>Everything that goes out, after routing.</summary>
    Postrouting = 4,
}

/// <summary>Where a chain is hooked in. Its policy is always to accept.</summary>
/// <param name="Type">"filter" or "nat".</param>
/// <param name="Hook">Where.</param>
/// <param name="Priority">Lower runs earlier.</param>
public sealed record NftBaseChain(string Type, NftHook Hook, int Priority);

/// <summary>A rule: steps in order.</summary>
public sealed class NftRule(params NftExpression[] expressions) : IEquatable<NftRule>
{
    /// <summary>The steps.</summary>
    public IReadOnlyList<NftExpression> Expressions => expressions;

    /// <inheritdoc/>
    public bool Equals(NftRule? other) => other is not null && Expressions.SequenceEqual(other.Expressions);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as NftRule);

    /// <inheritdoc/>
    public override int GetHashCode() => expressions.Length == 0 ? 0 : HashCode.Combine(expressions.Length, expressions[0]);
}

/// <summary>A chain: rules in order.</summary>
public sealed record NftChain(string Name, IReadOnlyList<NftRule> Rules, NftBaseChain? Base = null)
{
    /// <summary>What <c>nft list</c> says of it; the kernel takes it once, so a name stands for one comment. Cut at nft's 128 bytes.</summary>
    public string Comment { get; init; } = "";

    /// <inheritdoc/>
    public bool Equals(NftChain? other) => other is not null && Name == other.Name && Equals(Base, other.Base) && Rules.SequenceEqual(other.Rules);

    /// <inheritdoc/>
    public override int GetHashCode() => Name.GetHashCode(StringComparison.Ordinal);
}

/// <summary>A named set, map (with data) or verdict map (data type verdict). A name stands for one definition: put what may change into the name.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Key">Type of the keys.</param>
/// <param name="Data">Type of the data; null = a set.</param>
/// <param name="Timeout">Elements leave after this long; zero = never. Such a set is filled by rules.</param>
/// <param name="MaxElements">Bound for sets that rules fill; 0 = none.</param>
public sealed record NftSet(string Name, NftType Key, NftType? Data = null, TimeSpan Timeout = default, int MaxElements = 0);

/// <summary>A map that belongs to one rule.</summary>
public sealed class NftAnonymousMap(NftType key, NftType data, IReadOnlyList<NftElement> elements) : IEquatable<NftAnonymousMap>
{
    /// <summary>Type of the keys.</summary>
    public NftType Key => key;

    /// <summary>Type of the data.</summary>
    public NftType Data => data;

    /// <summary>The elements.</summary>
    public IReadOnlyList<NftElement> Elements => elements;

    /// <inheritdoc/>
    public bool Equals(NftAnonymousMap? other) => other is not null && Key == other.Key && Data == other.Data && Elements.SequenceEqual(other.Elements);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as NftAnonymousMap);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Key, Data, Elements.Count);
}

/// <summary>
/// What one owner wants in a table: its chains, its sets, and elements in its own or in others' sets. A pure value: compare it, trace packets
/// through it, hand it to <see cref="NftTable"/>.
/// </summary>
public sealed class NftFragment
{
    /// <summary>Chains, each in one fragment only.</summary>
    public List<NftChain> Chains { get; } = [];

    /// <summary>Sets, each in one fragment only.</summary>
    public List<NftSet> Sets { get; } = [];

    /// <summary>Elements: several owners may want the same key; the first one's stands until it goes.</summary>
    public List<(string Set, NftElement Element)> Elements { get; } = [];
}
