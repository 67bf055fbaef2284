namespace K3sFast.Configuration;

/// <summary>The flags that one command takes. Immutable.</summary>
internal sealed class FlagSet
{
    private readonly Dictionary<string, FlagSpec> _byName = new(StringComparer.Ordinal);

    public FlagSet(IReadOnlyList<FlagSpec> rows)
    {
        Rows = rows;
        foreach (var flag in rows)
        {
            _byName.Add(flag.Name, flag);
            if (flag.Short.Length > 0)
                _byName.Add(flag.Short, flag);
        }
    }

    /// <summary>Rows in the order in which <c>--help</c> prints them.</summary>
    public IReadOnlyList<FlagSpec> Rows { get; }

    /// <summary>The row for a long or one-letter name without dashes, or null.</summary>
    public FlagSpec? Find(string name) => _byName.GetValueOrDefault(name);
}
