using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Optionals: values that may be absent. or and orValue evaluate their argument only when it is needed, so the evaluator has them.</summary>
internal static class CelOptionalLibrary
{
    private static readonly CelType s_optionalB = CelType.Optional(B), s_listOfB = CelType.List(B), s_listOfOptionalB = CelType.List(CelType.Optional(B));

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("optional.of", Global("optional_of", [B], s_optionalB, static args => CelOptional.Some(args[0]))),
        Function("optional.ofNonZeroValue", Global("optional_ofNonZeroValue", [B], s_optionalB, static args => IsZero(args[0]) ? CelOptional.None : CelOptional.Some(args[0]))),
        Function("optional.none", Global("optional_none", [], s_optionalB, static _ => CelOptional.None)),
        Function("optional.unwrap", Global("optional_unwrap", [s_listOfOptionalB], s_listOfB, static args => Unwrap(args[0].AsList))),
        Function("unwrapOpt", Member("optional_unwrapOpt", [s_listOfOptionalB], s_listOfB, static args => Unwrap(args[0].AsList))),
        Function("value", Member("optional_value", [s_optionalB], B, static args => ((CelOptional)args[0].Reference!).Value ?? CelValue.Error("optional.none() dereference"))),
        Function("hasValue", Member("optional_hasValue", [s_optionalB], CelType.Bool, static args => CelValue.Of(((CelOptional)args[0].Reference!).Value is not null))),
        Function("or", Member("optional_or_optional", [s_optionalB, s_optionalB], s_optionalB)),
        Function("orValue", Member("optional_orValue_value", [s_optionalB, B], B)),
        Function("_?._", Global("select_optional_field", [CelType.Dyn, CelType.String], s_optionalB)),
        Function("_[?_]",
            Global("list_optindex_optional_int", [s_listOfB, CelType.Int], s_optionalB), Global("optional_list_optindex_optional_int", [CelType.Optional(s_listOfB), CelType.Int], s_optionalB),
            Global("map_optindex_optional_value", [MapOfAB, A], s_optionalB), Global("optional_map_optindex_optional_value", [CelType.Optional(MapOfAB), A], s_optionalB)),
        Function("_[_]",
            Global("optional_list_index_int", [CelType.Optional(s_listOfB), CelType.Int], s_optionalB), Global("optional_map_index_value", [CelType.Optional(MapOfAB), A], s_optionalB)),
        Function("last", Member("list_last", [s_listOfB], s_optionalB, static args => At(args[0].AsList, args[0].AsList.Count - 1))),
        Function("first", Member("list_first", [s_listOfB], s_optionalB, static args => At(args[0].AsList, 0))),
    ];

    private static CelValue At(CelList list, int place) => list.Count == 0 ? CelOptional.None : CelOptional.Some(list[place]);

    private static CelValue Unwrap(CelList list)
    {
        var values = new List<CelValue>();
        for (int i = 0; i < list.Count; i++)
        {
            if (list[i].Reference is not CelOptional optional)
                return CelValue.Error($"value {CelText.Print(list[i])} is not optional");
            if (optional.Value is { } value)
                values.Add(value);
        }
        return CelValue.Of(new CelValueList([.. values]));
    }

    private static bool IsZero(CelValue value) => value.Kind switch
    {
        CelKind.Null => true,
        CelKind.Bool => !value.AsBool,
        CelKind.Int or CelKind.Uint or CelKind.Duration => value.AsInt == 0,
        CelKind.Double => value.AsDouble == 0,
        CelKind.String => value.AsString.Length == 0,
        CelKind.Bytes => value.AsBytes.Length == 0,
        CelKind.List => value.AsList.Count == 0,
        CelKind.Map => value.AsMap.Count == 0,
        CelKind.Timestamp => value.AsInt == -62_135_596_800 && value.Nanos == 0,
        _ => value.Reference is CelOptional { Value: null } or CelStruct { Count: 0 },
    };
}
