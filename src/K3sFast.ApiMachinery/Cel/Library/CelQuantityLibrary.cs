using System.Text;
using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Resource quantities.</summary>
internal static class CelQuantityLibrary
{
    internal static readonly CelType Type = CelType.Extension("kubernetes.Quantity");

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("quantity", Global("string_to_quantity", [CelType.String], Type, static args => Parse(args[0].AsString))),
        Function("isQuantity", Global("is_quantity_string", [CelType.String], CelType.Bool, static args => CelValue.Of(!Parse(args[0].AsString).IsError))),
        Function("sign", Global("quantity_sign", [Type], CelType.Int, static args => CelValue.Of((long)Of(args[0]).Sign))),
        Function("isGreaterThan", Member("quantity_is_greater_than", [Type, Type], CelType.Bool, static args => CelValue.Of(Of(args[0]) > Of(args[1])))),
        Function("isLessThan", Member("quantity_is_less_than", [Type, Type], CelType.Bool, static args => CelValue.Of(Of(args[0]) < Of(args[1])))),
        Function("compareTo", Member("quantity_compare_to", [Type, Type], CelType.Int, static args => CelValue.Of((long)Math.Sign(Of(args[0]).CompareTo(Of(args[1])))))),
        Function("asApproximateFloat", Member("quantity_get_float", [Type], CelType.Double, static args => CelValue.Of(Of(args[0]).ToDouble()))),
        Function("asInteger", Member("quantity_get_int", [Type], CelType.Int, static args =>
            IsInteger(Of(args[0])) ? CelValue.Of(Of(args[0]).Value) : CelValue.Error("cannot convert value to integer"))),
        Function("isInteger", Member("quantity_is_integer", [Type], CelType.Bool, static args => CelValue.Of(IsInteger(Of(args[0]))))),
        Function("add",
            Member("quantity_add", [Type, Type], Type, static args => Make(Of(args[0]) + Of(args[1]))),
            Member("quantity_add_int", [Type, CelType.Int], Type, static args => Make(Of(args[0]) + Quantity.FromInt64(args[1].AsInt)))),
        Function("sub",
            Member("quantity_sub", [Type, Type], Type, static args => Make(Of(args[0]) - Of(args[1]))),
            Member("quantity_sub_int", [Type, CelType.Int], Type, static args => Make(Of(args[0]) - Quantity.FromInt64(args[1].AsInt)))),
    ];

    /// <summary>A quantity as a value.</summary>
    internal static CelValue Make(Quantity value) => CelValue.Struct(new CelQuantity(value));

    private static CelValue Parse(string text) => Quantity.TryParse(Encoding.UTF8.GetBytes(text), out var value, out _) is { } problem ? CelValue.Error(problem) : Make(value);

    private static Quantity Of(CelValue value) => ((CelQuantity)value.Reference!).Value;

    private static bool IsInteger(Quantity value) => Quantity.FromInt64(value.Value) == value;

    private sealed class CelQuantity(Quantity value) : ICelObject
    {
        internal Quantity Value { get; } = value;

        public string TypeName => "kubernetes.Quantity";

        public CelValue EqualTo(CelValue other) => other.Reference is CelQuantity quantity ? CelValue.Of(quantity.Value == Value) : CelValue.NoSuchOverload;

        public override string ToString() => Value.ToString();
    }
}
