using System.Globalization;
using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Lists: Kubernetes' own functions and version 3 of the lists extension.</summary>
internal static class CelListLibrary
{
    // No list longer than what the budget of a call lets anybody look at.
    private const long MaxRange = 10_000_000;

    private static readonly (string Name, CelType Type)[] s_summable = [("int", CelType.Int), ("uint", CelType.Uint), ("double", CelType.Double), ("duration", CelType.Duration)];

    private static readonly (string Name, CelType Type)[] s_comparable =
        [.. s_summable, ("bool", CelType.Bool), ("timestamp", CelType.Timestamp), ("string", CelType.String), ("bytes", CelType.Bytes)];

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("isSorted", static args => IsSorted(args[0]), Each(s_comparable, static (name, type) => Member($"list_{name}_is_sorted_bool", [CelType.List(type)], CelType.Bool))),
        Function("sum", Each(s_summable, static (name, type) => Member($"list_{name}_sum_{name}", [CelType.List(type)], type, Sum(type)))),
        Function("max", static args => Extreme(args[0], "max", 1), Each(s_comparable, static (name, type) => Member($"list_{name}_max_{name}", [CelType.List(type)], type))),
        Function("min", static args => Extreme(args[0], "min", -1), Each(s_comparable, static (name, type) => Member($"list_{name}_min_{name}", [CelType.List(type)], type))),
        Function("indexOf", Member("list_a_index_of_int", [ListOfA, A], CelType.Int, static args => IndexOf(args[0].AsList, args[1], isLast: false))),
        Function("lastIndexOf", Member("list_a_last_index_of_int", [ListOfA, A], CelType.Int, static args => IndexOf(args[0].AsList, args[1], isLast: true))),
        Function("slice", Member("list_slice", [ListOfA, CelType.Int, CelType.Int], ListOfA, static args => Slice(args[0].AsList, args[1].AsInt, args[2].AsInt))),
        Function("flatten",
            Member("list_flatten", [CelType.List(ListOfA)], ListOfA, static args => Flatten(args[0].AsList, 1)),
            Member("list_flatten_int", [CelType.ListOfDyn, CelType.Int], CelType.ListOfDyn, static args => Flatten(args[0].AsList, args[1].AsInt))),
        Function("sort", static args => Sort(args[0], args[0]), Each(s_comparable, static (_, type) => Member($"list_{type.Name}_sort", [CelType.List(type)], CelType.List(type)))),
        Function("@sortByAssociatedKeys", static args => Sort(args[0], args[1]),
            Each(s_comparable, static (_, type) => Member($"list_{type.Name}_sortByAssociatedKeys", [ListOfA, CelType.List(type)], ListOfA))),
        Function("lists.range", Global("lists_range", [CelType.Int], CelType.List(CelType.Int), static args => Range(args[0].AsInt))),
        Function("reverse", Member("list_reverse", [ListOfA], ListOfA, static args => Reverse(args[0].AsList))),
        Function("distinct", Member("list_distinct", [ListOfA], ListOfA, static args => Distinct(args[0].AsList))),
    ];

    private static CelOverload[] Each((string Name, CelType Type)[] types, Func<string, CelType, CelOverload> make) => [.. types.Select(pair => make(pair.Name, pair.Type))];

    private static CelValue IsSorted(CelValue value)
    {
        if (value.Kind != CelKind.List)
            return CelValue.NoSuchOverload;
        var list = value.AsList;
        for (int i = 1; i < list.Count; i++)
        {
            var order = CelEquality.Compare(list[i - 1], list[i]);
            if (order.Kind == CelKind.Int && order.AsInt > 0)
                return CelValue.False;
        }
        return CelValue.True;
    }

    private static CelCall Sum(CelType type)
    {
        var zero = type.Kind switch { CelKind.Int => CelValue.Of(0L), CelKind.Uint => CelValue.Of(0UL), CelKind.Double => CelValue.Of(0.0), _ => CelValue.Duration(0) };
        var add = CelOperators.Functions.First(static function => function.Name == "_+_").Body!;
        return args =>
        {
            var sum = zero;
            var list = args[0].AsList;
            for (int i = 0; i < list.Count && !sum.IsError; i++)
                sum = add([sum, list[i]]);
            return sum;
        };
    }

    private static CelValue Extreme(CelValue value, string name, int wanted)
    {
        if (value.Kind != CelKind.List)
            return CelValue.NoSuchOverload;
        var list = value.AsList;
        if (list.Count == 0)
            return CelValue.Error($"{name} called on empty list");
        var best = list[0];
        for (int i = 1; i < list.Count; i++)
        {
            var order = CelEquality.Compare(list[i], best);
            if (order.IsError)
                return order;
            if (order.AsInt == wanted)
                best = list[i];
        }
        return best;
    }

    private static CelValue IndexOf(CelList list, CelValue item, bool isLast)
    {
        for (int i = 0; i < list.Count; i++)
        {
            int place = isLast ? list.Count - 1 - i : i;
            if (CelEquality.Equal(list[place], item).IsTrue)
                return CelValue.Of((long)place);
        }
        return CelValue.Of(-1L);
    }

    private static CelValue Slice(CelList list, long start, long end)
    {
        string call = string.Create(CultureInfo.InvariantCulture, $"cannot slice({start}, {end})");
        if (start < 0 || end < 0)
            return CelValue.Error($"{call}, negative indexes not supported");
        if (start > end)
            return CelValue.Error($"{call}, start index must be less than or equal to end index");
        if (list.Count < end)
            return CelValue.Error(string.Create(CultureInfo.InvariantCulture, $"{call}, list is length {list.Count}"));
        var part = new CelValue[end - start];
        for (int i = 0; i < part.Length; i++)
            part[i] = list[(int)start + i];
        return CelValue.Of(new CelValueList(part));
    }

    private static CelValue Flatten(CelList list, long depth)
    {
        if (depth < 0)
            return CelValue.Error("level must be non-negative");
        var flat = new List<CelValue>();
        Flatten(list, depth, flat);
        return CelValue.Of(new CelValueList([.. flat]));
    }

    private static void Flatten(CelList list, long depth, List<CelValue> flat)
    {
        for (int i = 0; i < list.Count; i++)
        {
            if (depth > 0 && list[i].Kind == CelKind.List)
                Flatten(list[i].AsList, depth - 1, flat);
            else
                flat.Add(list[i]);
        }
    }

    private static CelValue Sort(CelValue value, CelValue by)
    {
        if (value.Kind != CelKind.List || by.Kind != CelKind.List)
            return CelValue.NoSuchOverload;
        var list = value.AsList;
        var keys = by.AsList;
        if (list.Count != keys.Count)
            return CelValue.Error(string.Create(CultureInfo.InvariantCulture,
                $"@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {list.Count} and {keys.Count} elements respectively"));
        if (list.Count == 0)
            return value;
        if (CelEquality.Compare(keys[0], keys[0]) is { IsError: true, AsString: "no such overload" })
            return CelValue.Error("list elements must be comparable");
        for (int i = 1; i < keys.Count; i++)
        {
            if (keys[i].Kind != keys[0].Kind)
                return CelValue.Error("list elements must have the same type");
        }
        var order = Enumerable.Range(0, list.Count).ToArray();
        Array.Sort(order, (left, right) => CelEquality.Compare(keys[left], keys[right]) is { Kind: CelKind.Int, AsInt: not 0 } difference ? (int)difference.AsInt : left - right);
        return CelValue.Of(new CelValueList([.. order.Select(place => list[place])]));
    }

    private static CelValue Range(long count)
    {
        if (count > MaxRange)
            return CelValue.Error(string.Create(CultureInfo.InvariantCulture, $"range of {count} elements is too long"));
        var numbers = new CelValue[Math.Max(count, 0)];
        for (int i = 0; i < numbers.Length; i++)
            numbers[i] = CelValue.Of((long)i);
        return CelValue.Of(new CelValueList(numbers));
    }

    private static CelValue Reverse(CelList list)
    {
        var values = new CelValue[list.Count];
        for (int i = 0; i < values.Length; i++)
            values[i] = list[values.Length - 1 - i];
        return CelValue.Of(new CelValueList(values));
    }

    private static CelValue Distinct(CelList list)
    {
        var seen = new HashSet<CelValue>(CelKeyComparer.Instance);
        var values = new List<CelValue>();
        for (int i = 0; i < list.Count; i++)
        {
            if (seen.Add(list[i]))
                values.Add(list[i]);
        }
        return CelValue.Of(new CelValueList([.. values]));
    }
}
