namespace K3sFast.ApiMachinery;

/// <summary>A type of the expression language. Immutable but for the fields of objects, which are looked up when they are asked for.</summary>
public sealed class CelType
{
    /// <summary>true or false.</summary>
    public static readonly CelType Bool = new(CelKind.Bool, "bool");

    /// <summary>A whole number with sign.</summary>
    public static readonly CelType Int = new(CelKind.Int, "int");

    /// <summary>A whole number without sign.</summary>
    public static readonly CelType Uint = new(CelKind.Uint, "uint");

    /// <summary>A floating point number.</summary>
    public static readonly CelType Double = new(CelKind.Double, "double");

    /// <summary>Text.</summary>
    public static readonly CelType String = new(CelKind.String, "string");

    /// <summary>Bytes.</summary>
    public static readonly CelType Bytes = new(CelKind.Bytes, "bytes");

    /// <summary>A span of time.</summary>
    public static readonly CelType Duration = new(CelKind.Duration, "google.protobuf.Duration");

    /// <summary>A point in time.</summary>
    public static readonly CelType Timestamp = new(CelKind.Timestamp, "google.protobuf.Timestamp");

    /// <summary>null.</summary>
    public static readonly CelType Null = new(CelKind.Null, "null_type");

    /// <summary>Any value; judged at run time.</summary>
    public static readonly CelType Dyn = new(CelKind.Dyn, "dyn");

    /// <summary>Any single value: judged at run time, but no range of a loop.</summary>
    internal static readonly CelType Any = new(CelKind.Dyn, "google.protobuf.Any");

    /// <summary>The type of types.</summary>
    public static readonly CelType Type = new(CelKind.Type, "type");

    internal static readonly CelType Error = new(CelKind.Error, "!error!");
    internal static readonly CelType ListOfDyn = List(Dyn);
    internal static readonly CelType MapOfDyn = Map(Dyn, Dyn);

    private readonly Func<string, CelType?>? _field;

    private CelType(CelKind kind, string name, CelType[]? parameters = null, Func<string, CelType?>? field = null)
    {
        Kind = kind;
        Name = name;
        Parameters = parameters ?? [];
        _field = field;
    }

    /// <summary>What it is.</summary>
    public CelKind Kind { get; }

    /// <summary>Its name, without parameters.</summary>
    public string Name { get; }

    internal CelType[] Parameters { get; }

    internal bool IsDyn => Kind == CelKind.Dyn;

    internal bool IsOptional => Kind == CelKind.Opaque && Name == "optional_type";

    /// <summary>A list of elements of that type.</summary>
    public static CelType List(CelType element) => new(CelKind.List, "list", [element]);

    /// <summary>A map between those types.</summary>
    public static CelType Map(CelType key, CelType value) => new(CelKind.Map, "map", [key, value]);

    /// <summary>An object whose fields are found by the function; null = no such field.</summary>
    public static CelType Object(string name, Func<string, CelType?> field) => new(CelKind.Struct, name, null, field);

    /// <summary>An object with those fields.</summary>
    public static CelType Object(string name, IReadOnlyDictionary<string, CelType> fields) => new(CelKind.Struct, name, null, field => fields.GetValueOrDefault(field));

    internal static CelType Extension(string name) => new(CelKind.Struct, name, null, static _ => null);

    internal static CelType Opaque(string name, params CelType[] parameters) => new(CelKind.Opaque, name, parameters);

    internal static CelType Optional(CelType inner) => new(CelKind.Opaque, "optional_type", [inner]);

    internal static CelType Parameter(string name) => new(CelKind.Parameter, name);

    internal static CelType TypeOf(CelType inner) => new(CelKind.Type, "type", [inner]);

    /// <summary>The type of a field of this object; null when there is none.</summary>
    internal CelType? FindField(string name) => _field?.Invoke(name);

    /// <summary>Same kind, name and parameters.</summary>
    internal bool IsExactly(CelType other)
    {
        if (ReferenceEquals(this, other))
            return true;
        if (Kind != other.Kind || Name != other.Name || Parameters.Length != other.Parameters.Length)
            return false;
        for (int i = 0; i < Parameters.Length; i++)
        {
            if (!Parameters[i].IsExactly(other.Parameters[i]))
                return false;
        }
        return true;
    }

    /// <summary>The type as a declaration reads: list(int), &lt;T&gt;.</summary>
    public override string ToString() => Kind == CelKind.Parameter ? $"<{Name}>" : Parameters.Length == 0 ? Name : $"{Name}({string.Join(", ", (object[])Parameters)})";

    /// <summary>The type as the checker's messages show it.</summary>
    internal string Show() => Kind switch
    {
        CelKind.Duration => "duration",
        CelKind.Timestamp => "timestamp",
        CelKind.Null => "null",
        CelKind.Dyn when ReferenceEquals(this, Any) => "any",
        _ => Parameters.Length == 0 ? Name : $"{Name}({string.Join(", ", Parameters.Select(static parameter => parameter.Show()))})",
    };
}
