namespace K3sFast.ApiMachinery;

/// <summary>What an admission expression is for, which says what it may see and what it must evaluate to.</summary>
public enum AdmissionExpressionUse : byte
{
    /// <summary>Whether a policy or webhook is asked at all: bool.</summary>
    MatchCondition,

    /// <summary>Whether the request is right: bool.</summary>
    Validation,

    /// <summary>The words of a refusal: string; may not ask the authorizer.</summary>
    Message,

    /// <summary>The value of an audit annotation: string or null.</summary>
    AuditAnnotation,

    /// <summary>A named part of other expressions: anything.</summary>
    Variable,

    /// <summary>The fields that a mutating policy applies: Object.</summary>
    ApplyConfiguration,

    /// <summary>The operations that a mutating policy makes: list(JSONPatch).</summary>
    JsonPatch,
}

/// <summary>A compiled expression, or why it does not compile.</summary>
/// <param name="Source">The expression.</param>
/// <param name="Program">The program; null when there is a problem.</param>
/// <param name="Problem">Upstream's words; "" when there is none.</param>
/// <param name="IsInternal">True when upstream calls it an internal error instead of an invalid value.</param>
public sealed record AdmissionExpression(string Source, CelProgram? Program, string Problem, bool IsInternal);

/// <summary>
/// Compiles the expressions of one admission policy, or of webhooks: object and oldObject of any type, request, namespaceObject, params when the policy has
/// them, the authorizer, and the variables that were compiled before.
/// </summary>
/// <remarks>One thread: variables add up.</remarks>
public sealed class AdmissionCompiler
{
    private static readonly CelEnvironment s_common = CelEnvironment.Kubernetes
        .With("object", CelType.Dyn).With("oldObject", CelType.Dyn).With("namespaceObject", AdmissionTypes.Namespace).With("request", AdmissionTypes.Request);

    private readonly CelEnvironment _plain;
    private readonly CelEnvironment _authorizing;
    private readonly Dictionary<string, CelType> _variables = [];

    /// <summary>A compiler for a policy with or without parameters, and with or without variables.</summary>
    public AdmissionCompiler(bool hasParams, bool hasVariables, CelType? objectType = null, CelType? paramsType = null)
    {
        _plain = objectType is null ? s_common : s_common.With("object", objectType).With("oldObject", objectType);
        if (hasParams)
            _plain = _plain.With("params", paramsType ?? CelType.Dyn);
        if (hasVariables)
            _plain = _plain.With("variables", CelType.Object("kubernetes.variables", _variables));
        _authorizing = _plain.With("authorizer", CelAuthorizerLibrary.AuthorizerType).With("authorizer.requestResource", CelAuthorizerLibrary.ResourceCheckType);
    }

    /// <summary>Compiles one expression.</summary>
    public AdmissionExpression Compile(string expression, AdmissionExpressionUse use)
    {
        var environment = use == AdmissionExpressionUse.Message ? _plain : _authorizing;
        if (use is AdmissionExpressionUse.ApplyConfiguration or AdmissionExpressionUse.JsonPatch)
            environment = environment.WithPatchTypes();
        var compiled = environment.Compile(expression);
        if (compiled.Program is not { } program)
            return new AdmissionExpression(expression, null, compiled.Problem!, compiled.Instantiation.Length > 0);
        var wanted = ResultsOf(use);
        if (wanted.Length == 0 || Array.Exists(wanted, type => type.IsExactly(program.ResultType)))
            return new AdmissionExpression(expression, program, "", false);
        string problem = wanted.Length == 1
            ? $"must evaluate to {wanted[0]} but got {program.ResultType}"
            : $"must evaluate to one of [{string.Join(' ', (object[])wanted)}] but got {program.ResultType}";
        return new AdmissionExpression(expression, null, problem, false);
    }

    /// <summary>What the checker has against the expression, of whatever type and for whatever use it is; "" when nothing.</summary>
    internal string FindIssues(string expression) => _authorizing.Compile(expression).Issues;

    /// <summary>Compiles a variable and lets the expressions after it use it, whether it is right or not.</summary>
    public AdmissionExpression AddVariable(string name, string expression)
    {
        var compiled = Compile(expression, AdmissionExpressionUse.Variable);
        _variables[name] = compiled.Program is { } program ? Seen(program.ResultType) : CelType.Dyn;
        return compiled;
    }

    // Others see the scalars, lists and maps of a variable's type; what is neither is dyn.
    private static CelType Seen(CelType type) => type.Kind switch
    {
        CelKind.List => CelType.List(Seen(type.Parameters[0])),
        CelKind.Map => CelType.Map(Seen(type.Parameters[0]), Seen(type.Parameters[1])),
        CelKind.Struct or CelKind.Opaque or CelKind.Type => CelType.Dyn,
        _ => type,
    };

    private static CelType[] ResultsOf(AdmissionExpressionUse use) => use switch
    {
        AdmissionExpressionUse.MatchCondition or AdmissionExpressionUse.Validation => [CelType.Bool],
        AdmissionExpressionUse.Message => [CelType.String],
        AdmissionExpressionUse.AuditAnnotation => [CelType.String, CelType.Null],
        AdmissionExpressionUse.ApplyConfiguration => [CelPatchLibrary.ObjectType],
        AdmissionExpressionUse.JsonPatch => [CelPatchLibrary.PatchType],
        _ => [],
    };
}
