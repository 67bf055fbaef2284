namespace K3sFast.ApiMachinery;

/// <summary>What an expression may name: variables, types and functions. Immutable; every With makes a new one over this.</summary>
/// <remarks>Any thread.</remarks>
public sealed class CelEnvironment
{
    private static readonly Lazy<CelEnvironment> s_kubernetes = new(static () => new CelEnvironment(CelLibraries.Kubernetes(), [], null, false));

    private readonly Dictionary<string, CelFunction> _functions;
    private readonly Dictionary<string, CelType> _variables;
    private readonly Func<string, CelType?>? _types;

    private readonly bool _hasBindings;

    private CelEnvironment(Dictionary<string, CelFunction> functions, Dictionary<string, CelType> variables, Func<string, CelType?>? types, bool hasBindings)
    {
        _hasBindings = hasBindings;
        _functions = functions;
        _variables = variables;
        _types = types;
    }

    /// <summary>All libraries that Kubernetes 1.36 turns on everywhere, and no variables.</summary>
    public static CelEnvironment Kubernetes => s_kubernetes.Value;

    /// <summary>With one more variable.</summary>
    public CelEnvironment With(string name, CelType type) => new(_functions, new Dictionary<string, CelType>(_variables) { [name] = type }, _types, _hasBindings);

    /// <summary>With object types that expressions may make, found by name.</summary>
    internal CelEnvironment WithTypes(Func<string, CelType?> types) => new(_functions, _variables, types, _hasBindings);

    /// <summary>With the macro cel.bind.</summary>
    internal CelEnvironment WithBindings() => new(_functions, _variables, _types, true);

    /// <summary>With the functions of one more library.</summary>
    internal CelEnvironment WithFunctions(IEnumerable<CelFunction> functions)
    {
        var all = new Dictionary<string, CelFunction>(_functions);
        foreach (var function in functions)
            all[function.Name] = all.TryGetValue(function.Name, out var known) ? known.With(function) : function;
        return new CelEnvironment(all, _variables, _types, _hasBindings);
    }

    /// <summary>Parses and checks. The program runs when there are no issues.</summary>
    public CelCompilation Compile(string expression)
    {
        var issues = new CelIssues(expression);
        var tree = CelParser.Parse(expression, issues, _hasBindings);
        if (tree is null)
            return new CelCompilation(null, issues.ToString());
        CelChecker.Check(tree, this, issues);
        if (issues.Any)
            return new CelCompilation(null, issues.ToString());
        CelLiteralChecks.Check(tree, issues);
        if (issues.Any)
            return new CelCompilation(null, issues.ToString());
        return CelLiteralChecks.Unfoldable(tree) is { } problem ? new CelCompilation(null, "", problem) : new CelCompilation(new CelProgram(expression, tree), "");
    }

    internal CelFunction? FindFunction(string name) => _functions.GetValueOrDefault(name.TrimStart('.'));

    internal CelType? FindVariable(string name) => _variables.GetValueOrDefault(name.TrimStart('.'));

    /// <summary>The type of that name, for names that stand for types.</summary>
    internal CelType? FindType(string name) => name.TrimStart('.') switch
    {
        "bool" => CelType.Bool,
        "int" => CelType.Int,
        "uint" => CelType.Uint,
        "double" => CelType.Double,
        "string" => CelType.String,
        "bytes" => CelType.Bytes,
        "list" => CelType.ListOfDyn,
        "map" => CelType.MapOfDyn,
        "null_type" => CelType.Null,
        "type" => CelType.Type,
        "google.protobuf.Duration" => CelType.Duration,
        "google.protobuf.Timestamp" => CelType.Timestamp,
        "optional_type" => CelType.Optional(CelType.Dyn),
        var other => CelLibraries.ExtensionType(other) ?? _types?.Invoke(other),
    };
}

/// <summary>The outcome of compiling: a program, or what is wrong in upstream's words.</summary>
/// <param name="Program">The program; null when there are issues.</param>
/// <param name="Issues">What is wrong: "ERROR: &lt;input&gt;:1:8: undefined field 'x'" with the source and a caret, one after the other.</param>
/// <param name="Instantiation">What keeps a correct expression from running: a conversion of a literal that cannot be. "" when nothing does.</param>
public sealed record CelCompilation(CelProgram? Program, string Issues, string Instantiation = "")
{
    /// <summary>The refusal's words; null when there is a program.</summary>
    public string? Problem => Program is not null ? null : Instantiation.Length > 0 ? $"program instantiation failed: {Instantiation}" : $"compilation failed: {Issues}";
}
