using K3sFast.Interop;
using K3sFast.Interop.NfTables;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy;

/// <summary>
/// The rules that have nothing to do with Services, for back ends that carry those without rules: masquerading, and pods held to their own addresses. A kernel
/// without nf_tables does without them, and that is said.
/// </summary>
/// <remarks>One thread at a time (the proxy's loop).</remarks>
internal sealed class MasqueradeTables : IDisposable
{
    private readonly List<(NftFamily Family, NftTable Table)> _tables = [];
    private readonly NetworkOptions _options;
    private bool _isWritten;

    internal MasqueradeTables(NetworkOptions options, ILogger logger)
    {
        _options = options with { IsServiceProxyEnabled = false };
        if (!IsSupported(options))
        {
            Log.NoMasquerade(logger);
            return;
        }
        foreach (var family in ServiceBackend.FamiliesOf(options)) _tables.Add((family, new NftTable(family, BaseRules.TableName, options.HostNamespace)));
    }

    /// <summary>True if this kernel has nf_tables and lets us use them.</summary>
    internal static bool IsSupported(NetworkOptions options)
    {
        try
        {
            NftDump.ListBaseChains(options.HostNamespace);
            return true;
        }
        catch (KernelException)
        {
            return false;
        }
    }

    /// <summary>Makes the rules, and more that a back end wants, what they should be.</summary>
    internal void Apply(Action<NftFamily, NftFragment>? extend = null)
    {
        foreach (var (family, table) in _tables)
        {
            var fragment = BaseRules.Build(family, _options);
            extend?.Invoke(family, fragment);
            table.Apply([new(BaseRules.Owner, fragment)]);
        }
        _isWritten = true;
    }

    /// <summary>A part of the rules that belongs to <paramref name="owner"/>; null = it leaves.</summary>
    internal void Apply(NftFamily family, IReadOnlyList<KeyValuePair<string, NftFragment?>> changes)
    {
        if (_tables.Find(entry => entry.Family == family).Table is { } table && changes.Count > 0) table.Apply(changes);
    }

    /// <summary>Puts back what somebody else removed; true = something had to be.</summary>
    internal bool Verify()
    {
        var isRepaired = false;
        foreach (var (_, table) in _tables) isRepaired |= _isWritten && table.Verify();
        return isRepaired;
    }

    public void Dispose()
    {
        foreach (var (_, table) in _tables) table.Dispose();
    }
}
