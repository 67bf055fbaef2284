using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>The operators, size and type. Those that short-circuit have a signature only: the evaluator knows them.</summary>
internal static class CelOperators
{
    private static readonly CelType s_bool = CelType.Bool, s_int = CelType.Int, s_uint = CelType.Uint, s_double = CelType.Double, s_string = CelType.String,
        s_bytes = CelType.Bytes, s_duration = CelType.Duration, s_timestamp = CelType.Timestamp;

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("_?_:_", Global("conditional", [s_bool, A, A], A)),
        Function("_&&_", Global("logical_and", [s_bool, s_bool], s_bool)),
        Function("_||_", Global("logical_or", [s_bool, s_bool], s_bool)),
        Function("@not_strictly_false", Global("not_strictly_false", [s_bool], s_bool)),
        Function("!_", static args => args[0].Kind == CelKind.Bool ? CelValue.Of(!args[0].AsBool) : CelValue.NoSuchOverload, Global("logical_not", [s_bool], s_bool)),
        Function("_==_", static args => CelEquality.Equal(args[0], args[1]), Global("equals", [A, A], s_bool)),
        Function("_!=_", static args => Not(CelEquality.Equal(args[0], args[1])), Global("not_equals", [A, A], s_bool)),
        Function("_+_", static args => Add(args[0], args[1]),
            Same("add_bytes", s_bytes), Same("add_double", s_double), Same("add_duration_duration", s_duration),
            Global("add_duration_timestamp", [s_duration, s_timestamp], s_timestamp), Global("add_timestamp_duration", [s_timestamp, s_duration], s_timestamp),
            Same("add_int64", s_int), Same("add_list", ListOfA), Same("add_string", s_string), Same("add_uint64", s_uint)),
        Function("_-_", static args => Subtract(args[0], args[1]),
            Same("subtract_double", s_double), Same("subtract_duration_duration", s_duration), Same("subtract_int64", s_int),
            Global("subtract_timestamp_duration", [s_timestamp, s_duration], s_timestamp), Global("subtract_timestamp_timestamp", [s_timestamp, s_timestamp], s_duration),
            Same("subtract_uint64", s_uint)),
        Function("_*_", static args => Multiply(args[0], args[1]), Same("multiply_double", s_double), Same("multiply_int64", s_int), Same("multiply_uint64", s_uint)),
        Function("_/_", static args => Divide(args[0], args[1]), Same("divide_double", s_double), Same("divide_int64", s_int), Same("divide_uint64", s_uint)),
        Function("_%_", static args => Modulo(args[0], args[1]), Same("modulo_int64", s_int), Same("modulo_uint64", s_uint)),
        Function("-_", static args => Negate(args[0]), Global("negate_double", [s_double], s_double), Global("negate_int64", [s_int], s_int)),
        Order("_<_", "less", static order => order < 0),
        Order("_<=_", "less_equals", static order => order <= 0),
        Order("_>_", "greater", static order => order > 0),
        Order("_>=_", "greater_equals", static order => order >= 0),
        Function("_[_]", Global("index_list", [ListOfA, s_int], A), Global("index_map", [MapOfAB, A], B)),
        Function("@in", static args => In(args[0], args[1]), Global("in_list", [A, ListOfA], s_bool), Global("in_map", [A, MapOfAB], s_bool)),
        Function("size", static args => Size(args[0]),
            Global("size_bytes", [s_bytes], s_int), Member("bytes_size", [s_bytes], s_int), Global("size_list", [ListOfA], s_int), Member("list_size", [ListOfA], s_int),
            Global("size_map", [MapOfAB], s_int), Member("map_size", [MapOfAB], s_int), Global("size_string", [s_string], s_int), Member("string_size", [s_string], s_int)),
        Function("cel.@mapInsert", static args => Insert(args), Global("@mapInsert_map_key_value", [MapOfAB, A, B], MapOfAB), Global("@mapInsert_map_map", [MapOfAB, MapOfAB], MapOfAB)),
    ];

    private static CelOverload Same(string id, CelType type) => Global(id, [type, type], type);

    // Numbers have an order across kinds.
    private static CelFunction Order(string name, string id, Func<long, bool> holds)
    {
        CelType[] types = [s_bool, s_int, s_uint, s_double, s_string, s_bytes, s_timestamp, s_duration];
        CelType[] numbers = [s_int, s_uint, s_double];
        var overloads = types.Select(type => Global($"{id}_{IdOf(type)}", [type, type], s_bool))
            .Concat(numbers.SelectMany(_ => numbers, (left, right) => (left, right)).Where(static pair => pair.left != pair.right)
                .Select(pair => Global($"{id}_{IdOf(pair.left)}_{IdOf(pair.right)}", [pair.left, pair.right], s_bool)));
        return new CelFunction(name, [.. overloads], args =>
        {
            var order = CelEquality.Compare(args[0], args[1]);
            return order.IsError ? order : CelValue.Of(holds(order.AsInt));
        });
    }

    private static string IdOf(CelType type) => type.Kind switch { CelKind.Int => "int64", CelKind.Uint => "uint64", CelKind.Timestamp => "timestamp", CelKind.Duration => "duration", _ => type.Name };

    private static CelValue Not(CelValue value) => value.Kind == CelKind.Bool ? CelValue.Of(!value.AsBool) : value;

    private static CelValue Add(CelValue a, CelValue b) => (a.Kind, b.Kind) switch
    {
        (CelKind.Int, CelKind.Int) => CelNumbers.Add(a.AsInt, b.AsInt),
        (CelKind.Uint, CelKind.Uint) => CelNumbers.Add(a.AsUint, b.AsUint),
        (CelKind.Double, CelKind.Double) => CelValue.Of(a.AsDouble + b.AsDouble),
        (CelKind.String, CelKind.String) => CelValue.Of(a.AsString + b.AsString),
        (CelKind.Bytes, CelKind.Bytes) => CelValue.Of((byte[])[.. a.AsBytes, .. b.AsBytes]),
        (CelKind.List, CelKind.List) => CelGrowingList.Concat(a.AsList, b.AsList),
        (CelKind.Duration, CelKind.Duration) => AsDuration(CelNumbers.Add(a.AsInt, b.AsInt)),
        (CelKind.Duration, CelKind.Timestamp) => CelTime.Add(b, a.AsInt),
        (CelKind.Timestamp, CelKind.Duration) => CelTime.Add(a, b.AsInt),
        _ => CelValue.NoSuchOverload,
    };

    private static CelValue Subtract(CelValue a, CelValue b) => (a.Kind, b.Kind) switch
    {
        (CelKind.Int, CelKind.Int) => CelNumbers.Subtract(a.AsInt, b.AsInt),
        (CelKind.Uint, CelKind.Uint) => CelNumbers.Subtract(a.AsUint, b.AsUint),
        (CelKind.Double, CelKind.Double) => CelValue.Of(a.AsDouble - b.AsDouble),
        (CelKind.Duration, CelKind.Duration) => AsDuration(CelNumbers.Subtract(a.AsInt, b.AsInt)),
        (CelKind.Timestamp, CelKind.Duration) => b.AsInt == long.MinValue ? CelValue.Error("integer overflow") : CelTime.Add(a, -b.AsInt),
        (CelKind.Timestamp, CelKind.Timestamp) => CelTime.Difference(a, b),
        _ => CelValue.NoSuchOverload,
    };

    private static CelValue AsDuration(CelValue nanoseconds) => nanoseconds.IsError ? nanoseconds : CelValue.Duration(nanoseconds.AsInt);

    private static CelValue Multiply(CelValue a, CelValue b) => (a.Kind, b.Kind) switch
    {
        (CelKind.Int, CelKind.Int) => CelNumbers.Multiply(a.AsInt, b.AsInt),
        (CelKind.Uint, CelKind.Uint) => CelNumbers.Multiply(a.AsUint, b.AsUint),
        (CelKind.Double, CelKind.Double) => CelValue.Of(a.AsDouble * b.AsDouble),
        _ => CelValue.NoSuchOverload,
    };

    private static CelValue Divide(CelValue a, CelValue b) => (a.Kind, b.Kind) switch
    {
        (CelKind.Int, CelKind.Int) => CelNumbers.Divide(a.AsInt, b.AsInt),
        (CelKind.Uint, CelKind.Uint) => CelNumbers.Divide(a.AsUint, b.AsUint),
        (CelKind.Double, CelKind.Double) => CelValue.Of(a.AsDouble / b.AsDouble),
        _ => CelValue.NoSuchOverload,
    };

    private static CelValue Modulo(CelValue a, CelValue b) => (a.Kind, b.Kind) switch
    {
        (CelKind.Int, CelKind.Int) => CelNumbers.Modulo(a.AsInt, b.AsInt),
        (CelKind.Uint, CelKind.Uint) => CelNumbers.Modulo(a.AsUint, b.AsUint),
        _ => CelValue.NoSuchOverload,
    };

    private static CelValue Negate(CelValue value) => value.Kind switch
    {
        CelKind.Int => CelNumbers.Negate(value.AsInt),
        CelKind.Double => CelValue.Of(-value.AsDouble),
        CelKind.Duration => AsDuration(CelNumbers.Negate(value.AsInt)),
        _ => CelValue.NoSuchOverload,
    };

    private static CelValue In(CelValue value, CelValue container)
    {
        if (container.Reference is CelMap map)
            return CelValue.Of(map.TryGet(value, out _));
        if (container.Kind != CelKind.List)
            return CelValue.NoSuchOverload;
        var list = container.AsList;
        for (int i = 0; i < list.Count; i++)
        {
            if (CelEquality.Equal(list[i], value).IsTrue)
                return CelValue.True;
        }
        return CelValue.False;
    }

    private static CelValue Size(CelValue value) => value.Kind switch
    {
        CelKind.String or CelKind.Bytes or CelKind.List or CelKind.Map => CelValue.Of(CelCosts.ActualSize(value)),
        _ => CelValue.Error("no such overload: size"),
    };

    private static CelValue Insert(ReadOnlySpan<CelValue> args)
    {
        var map = CelValueMap.CopyOf(args[0].AsMap);
        if (args.Length == 3)
            return map.TryAdd(args[1], args[2]) ? CelValue.Of(map) : Exists(args[1]);
        foreach (var key in args[1].AsMap.Keys)
        {
            if (args[1].AsMap.TryGet(key, out var value) && !map.TryAdd(key, value))
                return Exists(key);
        }
        return CelValue.Of(map);
    }

    private static CelValue Exists(CelValue key) => CelValue.Error($"insert failed: key {CelText.Print(key)} already exists");
}
