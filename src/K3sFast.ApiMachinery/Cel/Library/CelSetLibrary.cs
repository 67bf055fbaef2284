using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Lists as sets.</summary>
internal static class CelSetLibrary
{
    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("sets.contains", Global("list_sets_contains_list", [ListOfA, ListOfA], CelType.Bool, static args => CelValue.Of(Contains(args[0].AsList, args[1].AsList)))),
        Function("sets.equivalent", Global("list_sets_equivalent_list", [ListOfA, ListOfA], CelType.Bool,
            static args => CelValue.Of(Contains(args[0].AsList, args[1].AsList) && Contains(args[1].AsList, args[0].AsList)))),
        Function("sets.intersects", Global("list_sets_intersects_list", [ListOfA, ListOfA], CelType.Bool, static args => CelValue.Of(Intersects(args[0].AsList, args[1].AsList)))),
    ];

    private static bool Contains(CelList list, CelList part)
    {
        for (int i = 0; i < part.Count; i++)
        {
            if (!Has(list, part[i]))
                return false;
        }
        return true;
    }

    private static bool Intersects(CelList first, CelList second)
    {
        for (int i = 0; i < first.Count; i++)
        {
            if (Has(second, first[i]))
                return true;
        }
        return false;
    }

    private static bool Has(CelList list, CelValue value)
    {
        for (int i = 0; i < list.Count; i++)
        {
            if (CelEquality.Equal(list[i], value).IsTrue)
                return true;
        }
        return false;
    }
}
