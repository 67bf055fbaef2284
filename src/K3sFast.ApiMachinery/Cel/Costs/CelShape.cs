namespace K3sFast.ApiMachinery;

/// <summary>A declared type with what is known of the sizes of its values, for cost estimates. Immutable.</summary>
/// <param name="Type">What expressions see.</param>
/// <param name="MaxElements">The most characters, bytes, elements or members; 0 for what has no size of its own.</param>
/// <param name="MinBytes">The fewest bytes that a value takes in JSON.</param>
internal sealed record CelShape(CelType Type, long MaxElements, long MinBytes)
{
    private const int MinStringBytes = 2;
    private const int MinContainerBytes = 2;

    /// <summary>The keys of a map; null for others.</summary>
    internal CelShape? Key { get; private init; }

    /// <summary>The elements of a list or the values of a map; null for others.</summary>
    internal CelShape? Element { get; private init; }

    /// <summary>The fields of an object by their spelling in expressions; null for others.</summary>
    internal IReadOnlyDictionary<string, CelShape>? Fields { get; private init; }

    /// <summary>True for a map whose values may also be selected as fields and have their size then.</summary>
    internal bool HasValuesAsFields { get; init; }

    internal static CelShape String(long maxElements) => new(CelType.String, maxElements, MinStringBytes);

    internal static CelShape List(CelShape element, long maxElements) => new(CelType.List(element.Type), maxElements, MinContainerBytes) { Element = element };

    internal static CelShape Map(CelShape key, CelShape value, long maxElements) =>
        new(CelType.Map(key.Type, value.Type), maxElements, MinContainerBytes) { Key = key, Element = value };

    /// <summary>An object; <paramref name="findType"/> tells the types of the fields that expressions may select.</summary>
    internal static CelShape Object(string name, IReadOnlyDictionary<string, CelShape> fields, long minBytes = MinContainerBytes, Func<string, CelType?>? findType = null) =>
        new(CelType.Object(name, findType ?? (field => fields.TryGetValue(field, out var shape) ? shape.Type : null)), 0, minBytes) { Fields = fields };

    /// <summary>
    /// The size of what stands at that path below a value of this shape, whose own name is the path's first part; null = not known.
    /// The parts are names of fields, @items, @values or @keys.
    /// </summary>
    internal CelSize? SizeAt(string[] path)
    {
        var at = this;
        for (int i = 1; i < path.Length && at is not null; i++)
        {
            at = path[i] switch
            {
                CelEstimator.Items or CelEstimator.Values => at.Element,
                CelEstimator.Keys => at.Key,
                var field => at.Fields?.GetValueOrDefault(field) ?? (at.HasValuesAsFields ? at.Element : null),
            };
        }
        return path.Length == 0 || at is null ? null : new CelSize(0, (ulong)at.MaxElements);
    }
}
