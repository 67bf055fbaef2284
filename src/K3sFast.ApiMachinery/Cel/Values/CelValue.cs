namespace K3sFast.ApiMachinery;

/// <summary>A value of the expression language. Numbers, times and truth need no object; an error is a value too and passes through strict functions.</summary>
/// <remarks>The default value is null of the language's kind Error without a message; make values by the factories.</remarks>
public readonly struct CelValue
{
    /// <summary>null.</summary>
    public static readonly CelValue Null = new(CelKind.Null, 0, 0, null);

    /// <summary>true.</summary>
    public static readonly CelValue True = new(CelKind.Bool, 1, 0, null);

    /// <summary>false.</summary>
    public static readonly CelValue False = new(CelKind.Bool, 0, 0, null);

    private readonly long _bits;
    private readonly int _nanos;
    private readonly short _offsetMinutes;

    private CelValue(CelKind kind, long bits, int nanos, object? reference, int offsetMinutes = 0)
    {
        Kind = kind;
        _bits = bits;
        _nanos = nanos;
        _offsetMinutes = (short)offsetMinutes;
        Reference = reference;
    }

    /// <summary>What it is.</summary>
    public CelKind Kind { get; }

    internal object? Reference { get; }

    /// <summary>True for a mistake of evaluation.</summary>
    public bool IsError => Kind == CelKind.Error;

    /// <summary>True for the value true.</summary>
    public bool IsTrue => Kind == CelKind.Bool && _bits != 0;

    /// <summary>The truth value.</summary>
    public bool AsBool => _bits != 0;

    /// <summary>The whole number; of a duration its nanoseconds; of a timestamp the seconds since 1970.</summary>
    public long AsInt => _bits;

    /// <summary>The whole number without sign.</summary>
    public ulong AsUint => (ulong)_bits;

    /// <summary>The floating point number.</summary>
    public double AsDouble => BitConverter.Int64BitsToDouble(_bits);

    /// <summary>The text; of an error its message.</summary>
    public string AsString => (string?)Reference ?? "";

    internal byte[] AsBytes => (byte[])Reference!;

    internal int Nanos => _nanos;

    /// <summary>Of a timestamp the offset from UTC that it was given with, which its text keeps.</summary>
    internal int OffsetMinutes => _offsetMinutes;

    /// <summary>The list.</summary>
    public CelList AsList => (CelList)Reference!;

    /// <summary>The map or object.</summary>
    public CelMap AsMap => (CelMap)Reference!;

    internal CelType AsType => (CelType)Reference!;

    /// <summary>The name of its type, as messages show it.</summary>
    internal string TypeName => Kind switch
    {
        CelKind.Struct or CelKind.Opaque => ((ICelObject)Reference!).TypeName,
        CelKind.Error => "error",
        _ => StaticType.Name,
    };

    /// <summary>The type as far as the kind tells it.</summary>
    internal CelType StaticType => Kind switch
    {
        CelKind.Null => CelType.Null,
        CelKind.Bool => CelType.Bool,
        CelKind.Int => CelType.Int,
        CelKind.Uint => CelType.Uint,
        CelKind.Double => CelType.Double,
        CelKind.String => CelType.String,
        CelKind.Bytes => CelType.Bytes,
        CelKind.Duration => CelType.Duration,
        CelKind.Timestamp => CelType.Timestamp,
        CelKind.List => CelType.ListOfDyn,
        CelKind.Map => CelType.MapOfDyn,
        CelKind.Type => CelType.Type,
        CelKind.Struct or CelKind.Opaque => CelType.Extension(TypeName),
        _ => CelType.Error,
    };

    /// <summary>A truth value.</summary>
    public static CelValue Of(bool value) => value ? True : False;

    /// <summary>A whole number.</summary>
    public static CelValue Of(long value) => new(CelKind.Int, value, 0, null);

    /// <summary>A whole number without sign.</summary>
    public static CelValue Of(ulong value) => new(CelKind.Uint, (long)value, 0, null);

    /// <summary>A floating point number.</summary>
    public static CelValue Of(double value) => new(CelKind.Double, BitConverter.DoubleToInt64Bits(value), 0, null);

    /// <summary>Text.</summary>
    public static CelValue Of(string value) => new(CelKind.String, 0, 0, value);

    /// <summary>Bytes.</summary>
    public static CelValue Of(byte[] value) => new(CelKind.Bytes, 0, 0, value);

    /// <summary>A list.</summary>
    public static CelValue Of(CelList value) => new(CelKind.List, 0, 0, value);

    /// <summary>A map.</summary>
    public static CelValue Of(CelMap value) => new(value.TypeName.Length == 0 ? CelKind.Map : CelKind.Struct, 0, 0, value);

    /// <summary>A list of texts.</summary>
    public static CelValue Of(IEnumerable<string> values) => Of(new CelValueList([.. values.Select(static value => Of(value))]));

    /// <summary>A mistake with its message.</summary>
    public static CelValue Error(string message) => new(CelKind.Error, 0, 0, message);

    internal static CelValue Duration(long nanoseconds) => new(CelKind.Duration, nanoseconds, 0, null);

    internal static CelValue Timestamp(long seconds, int nanos, int offsetMinutes) => new(CelKind.Timestamp, seconds, nanos, null, offsetMinutes);

    internal static CelValue Of(CelType value) => new(CelKind.Type, 0, 0, value);

    internal static CelValue Struct(ICelObject value) => new(CelKind.Struct, 0, 0, value);

    internal static CelValue Opaque(ICelObject value) => new(CelKind.Opaque, 0, 0, value);

    internal static CelValue NoSuchOverload { get; } = Error("no such overload");

    /// <summary>The value as upstream's messages print it.</summary>
    public override string ToString() => CelText.Print(this);
}

/// <summary>An object of an extension: an address, a quantity, an optional.</summary>
internal interface ICelObject
{
    /// <summary>The name of its type.</summary>
    string TypeName { get; }

    /// <summary>True, false or an error.</summary>
    CelValue EqualTo(CelValue other);

    /// <summary>What size-based costs count.</summary>
    long CostSize => 1;
}

/// <summary>A value that may be absent.</summary>
internal sealed class CelOptional(CelValue? value) : ICelObject
{
    internal static readonly CelValue None = CelValue.Opaque(new CelOptional(null));

    internal CelValue? Value { get; } = value;

    public string TypeName => "optional_type";

    public long CostSize => Value is { } inner ? CelCosts.ActualSize(inner) : 1;

    internal static CelValue Some(CelValue value) => CelValue.Opaque(new CelOptional(value));

    public CelValue EqualTo(CelValue other)
    {
        if (other.Reference is not CelOptional { Value: var theirs })
            return CelValue.False;
        return Value is { } mine && theirs is { } second ? CelEquality.Equal(mine, second) : CelValue.Of(Value is null && theirs is null);
    }
}
