using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The expressions that make a user of an issuer's tokens, and those that must hold. Immutable; compiled when the file is read.</summary>
internal sealed record JwtExpressions
{
    private static readonly CelType s_strings = CelType.List(CelType.String);

    private static readonly CelEnvironment s_claims = CelEnvironment.Kubernetes.With("claims", CelType.Map(CelType.String, CelType.Dyn));

    private static readonly CelEnvironment s_user = CelEnvironment.Kubernetes.With("user", CelType.Object("kubernetes.UserInfo", new Dictionary<string, CelType>
    {
        ["username"] = CelType.String, ["uid"] = CelType.String, ["groups"] = s_strings, ["extra"] = CelType.Map(CelType.String, s_strings),
    }));

    /// <summary>No expressions at all.</summary>
    internal static JwtExpressions None { get; } = new();

    internal CelProgram? Username { get; init; }

    internal CelProgram? Groups { get; init; }

    internal CelProgram? Uid { get; init; }

    internal IReadOnlyList<(string Key, CelProgram Value)> Extra { get; init; } = [];

    internal IReadOnlyList<(CelProgram Rule, string Message)> ClaimRules { get; init; } = [];

    internal IReadOnlyList<(CelProgram Rule, string Message)> UserRules { get; init; } = [];

    /// <summary>Compiles an expression over claims; null when the errors say why it cannot be.</summary>
    internal static CelProgram? CompileClaims(string expression, bool isRule, string path, FieldErrorList errors) => Compile(s_claims, expression, isRule, path, errors);

    /// <summary>Compiles a rule over the user.</summary>
    internal static CelProgram? CompileUser(string expression, string path, FieldErrorList errors) => Compile(s_user, expression, isRule: true, path, errors);

    private static CelProgram? Compile(CelEnvironment environment, string expression, bool isRule, string path, FieldErrorList errors)
    {
        var compiled = environment.Compile(expression);
        if (compiled.Instantiation.Length > 0)
            errors.Add(new FieldError(FieldErrorType.Internal, path, null, compiled.Problem!));
        else if (compiled.Program is null)
            errors.Invalid(path, expression, compiled.Problem!);
        else if (isRule && compiled.Program.ResultType.Kind != CelKind.Bool)
            errors.Invalid(path, expression, "must evaluate to bool");
        else
            return compiled.Program;
        return null;
    }

    /// <summary>Who makes names of mail addresses must look at whether they were verified.</summary>
    internal void CheckMail(string path, FieldErrorList errors)
    {
        if (Username is null || !Username.Selects("claims", "email"))
            return;
        var all = ((IEnumerable<CelProgram>)[Username, .. Extra.Select(static extra => extra.Value), .. ClaimRules.Select(static rule => rule.Rule)]);
        if (!all.Any(static program => program.Selects("claims", "email_verified")))
        {
            errors.Invalid(path, Username.Source, "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression"
                + " or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression");
        }
    }

    /// <summary>Evaluates one expression.</summary>
    /// <returns>The value, or what went wrong.</returns>
    internal static (CelValue Value, string? Error) Evaluate(CelProgram program, string variable, CelValue value)
    {
        var outcome = program.Evaluate(new One(variable, value));
        return outcome.Value.IsError ? (default, $"expression '{program.Source}' resulted in error: {outcome.Value.AsString}") : (outcome.Value, null);
    }

    /// <summary>A text or a list of texts, without empty ones; null when the value is neither.</summary>
    internal static List<string>? Texts(CelValue value)
    {
        switch (value.Kind)
        {
            case CelKind.Null:
                return [];
            case CelKind.String:
                return value.AsString.Length == 0 ? [] : [value.AsString];
            case CelKind.List:
                var texts = new List<string>();
                for (var i = 0; i < value.AsList.Count; i++)
                {
                    if (value.AsList[i].Kind != CelKind.String)
                        return null;
                    if (value.AsList[i].AsString.Length > 0)
                        texts.Add(value.AsList[i].AsString);
                }
                return texts;
            default:
                return null;
        }
    }

    /// <summary>What the first rule that does not hold says; null when all hold.</summary>
    internal static string? Broken(IReadOnlyList<(CelProgram Rule, string Message)> rules, string variable, CelValue value)
    {
        // All are evaluated before any counts: one that cannot be is worse than one that does not hold.
        var results = new List<CelValue>(rules.Count);
        foreach (var (rule, _) in rules)
        {
            var (result, error) = Evaluate(rule, variable, value);
            if (error is not null)
                return error;
            results.Add(result);
        }
        for (var i = 0; i < results.Count; i++)
        {
            if (!results[i].IsTrue)
                return $"validation expression '{rules[i].Rule.Source}' failed: {rules[i].Message}";
        }
        return null;
    }

    /// <summary>The user as rules see it.</summary>
    internal static CelValue UserValue(string name, string uid, IReadOnlyList<string> groups, IReadOnlyDictionary<string, string[]> extra)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("username"u8, name);
            json.WriteString("uid"u8, uid);
            json.WriteStartArray("groups"u8);
            foreach (var group in groups)
                json.WriteStringValue(group);
            json.WriteEndArray();
            json.WriteStartObject("extra"u8);
            foreach (var (key, values) in extra)
            {
                json.WriteStartArray(key);
                foreach (var value in values)
                    json.WriteStringValue(value);
                json.WriteEndArray();
            }
            json.WriteEndObject();
            json.WriteEndObject();
        }
        using var document = JsonDocument.Parse(buffer.ToArray());
        return ClaimValues.Of(document.RootElement.Clone());
    }

    private sealed class One(string variable, CelValue only) : ICelVariables
    {
        public bool TryFind(string name, out CelValue value)
        {
            value = only;
            return name == variable;
        }
    }
}
