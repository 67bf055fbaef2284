using System.Globalization;
using System.Text;
using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Conversions between types: int("1"), string(2.5), timestamp(...), dyn, type.</summary>
internal static class CelConversions
{
    private static readonly CelType s_bool = CelType.Bool, s_int = CelType.Int, s_uint = CelType.Uint, s_double = CelType.Double, s_string = CelType.String,
        s_bytes = CelType.Bytes, s_duration = CelType.Duration, s_timestamp = CelType.Timestamp;

    private static readonly CelCall s_same = static args => args[0];

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("dyn", s_same, Global("to_dyn", [A], CelType.Dyn)),
        Function("type", static args => CelValue.Of(args[0].StaticType), Global("type", [A], CelType.TypeOf(A))),
        Function("bool", Global("bool_to_bool", [s_bool], s_bool, s_same), Global("string_to_bool", [s_string], s_bool, static args => ToBool(args[0]))),
        Function("bytes", Global("bytes_to_bytes", [s_bytes], s_bytes, s_same),
            Global("string_to_bytes", [s_string], s_bytes, static args => CelValue.Of(Encoding.UTF8.GetBytes(args[0].AsString)))),
        Function("double", Global("double_to_double", [s_double], s_double, s_same), Global("int64_to_double", [s_int], s_double, static args => CelValue.Of((double)args[0].AsInt)),
            Global("string_to_double", [s_string], s_double, static args => ToDouble(args[0])), Global("uint64_to_double", [s_uint], s_double, static args => CelValue.Of((double)args[0].AsUint))),
        Function("int", Global("int64_to_int64", [s_int], s_int, s_same), Global("double_to_int64", [s_double], s_int, static args => CelNumbers.ToInt(args[0].AsDouble)),
            Global("duration_to_int64", [s_duration], s_int, static args => CelValue.Of(args[0].AsInt)),
            Global("string_to_int64", [s_string], s_int, static args => ToInt(args[0])), Global("timestamp_to_int64", [s_timestamp], s_int, static args => CelValue.Of(args[0].AsInt)),
            Global("uint64_to_int64", [s_uint], s_int, static args => CelNumbers.ToInt(args[0].AsUint))),
        Function("uint", Global("uint64_to_uint64", [s_uint], s_uint, s_same), Global("double_to_uint64", [s_double], s_uint, static args => CelNumbers.ToUint(args[0].AsDouble)),
            Global("int64_to_uint64", [s_int], s_uint, static args => CelNumbers.ToUint(args[0].AsInt)), Global("string_to_uint64", [s_string], s_uint, static args => ToUint(args[0]))),
        Function("string", Global("string_to_string", [s_string], s_string, s_same), Text("bool_to_string", s_bool),
            Global("bytes_to_string", [s_bytes], s_string, static args => BytesToText(args[0])), Text("double_to_string", s_double), Text("duration_to_string", s_duration),
            Text("int64_to_string", s_int), Text("timestamp_to_string", s_timestamp), Text("uint64_to_string", s_uint)),
        Function("duration", Global("duration_to_duration", [s_duration], s_duration, s_same), Global("int64_to_duration", [s_int], s_duration, static args => CelValue.Duration(args[0].AsInt)),
            Global("string_to_duration", [s_string], s_duration, static args => ToDuration(args[0]))),
        Function("timestamp", Global("timestamp_to_timestamp", [s_timestamp], s_timestamp, s_same),
            Global("int64_to_timestamp", [s_int], s_timestamp, static args => CelTime.Timestamp(args[0].AsInt, 0)),
            Global("string_to_timestamp", [s_string], s_timestamp, static args => ToTimestamp(args[0]))),
    ];

    private static CelOverload Text(string id, CelType type) => Global(id, [type], s_string, static args => CelValue.Of(CelText.Of(args[0])!));

    private static CelValue Failed(CelType to) => CelValue.Error($"type conversion error from 'string' to '{to.Name}'");

    private static CelValue ToBool(CelValue text) => text.AsString switch
    {
        "1" or "t" or "T" or "TRUE" or "true" or "True" => CelValue.True,
        "0" or "f" or "F" or "FALSE" or "false" or "False" => CelValue.False,
        _ => Failed(CelType.Bool),
    };

    private static CelValue ToInt(CelValue text) =>
        long.TryParse(text.AsString, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) ? CelValue.Of(value) : Failed(CelType.Int);

    private static CelValue ToUint(CelValue text) =>
        ulong.TryParse(text.AsString, NumberStyles.None, CultureInfo.InvariantCulture, out ulong value) ? CelValue.Of(value) : Failed(CelType.Uint);

    private static CelValue ToDouble(CelValue text)
    {
        string value = text.AsString;
        return value.TrimStart('+', '-').ToUpperInvariant() switch
        {
            "INF" or "INFINITY" => CelValue.Of(value[0] == '-' ? double.NegativeInfinity : double.PositiveInfinity),
            "NAN" => CelValue.Of(double.NaN),
            _ => double.TryParse(value, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out double number)
                && double.IsFinite(number) ? CelValue.Of(number) : Failed(CelType.Double),
        };
    }

    private static CelValue BytesToText(CelValue bytes) => System.Text.Unicode.Utf8.IsValid(bytes.AsBytes)
        ? CelValue.Of(Encoding.UTF8.GetString(bytes.AsBytes)) : CelValue.Error("invalid UTF-8 in bytes, cannot convert to string");

    private static CelValue ToDuration(CelValue text) => GoDuration.TryParse(Encoding.UTF8.GetBytes(text.AsString), out long value) is null ? CelValue.Duration(value) : Failed(CelType.Duration);

    private static CelValue ToTimestamp(CelValue text) => CelTime.TryParse(text.AsString, out var value) ? value : Failed(CelType.Timestamp);
}
