using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Match conditions of an authorization webhook: which SubjectAccessReviews it is asked at all. Immutable.</summary>
internal sealed class AccessConditions
{
    private static readonly CelType s_strings = CelType.List(CelType.String);

    private static readonly CelType s_requirement = Of("kubernetes.SelectorRequirement", ("key", CelType.String), ("operator", CelType.String), ("values", s_strings));

    private static readonly CelEnvironment s_environment = CelEnvironment.Kubernetes.With("request", Of("kubernetes.SubjectAccessReviewSpec",
        ("resourceAttributes", Of("kubernetes.ResourceAttributes",
            ("namespace", CelType.String), ("verb", CelType.String), ("group", CelType.String), ("version", CelType.String), ("resource", CelType.String),
            ("subresource", CelType.String), ("name", CelType.String),
            ("fieldSelector", Of("kubernetes.FieldSelectorAttributes", ("rawSelector", CelType.String), ("requirements", CelType.List(s_requirement)))),
            ("labelSelector", Of("kubernetes.LabelSelectorAttributes", ("rawSelector", CelType.String), ("requirements", CelType.List(s_requirement)))))),
        ("nonResourceAttributes", Of("kubernetes.NonResourceAttributes", ("path", CelType.String), ("verb", CelType.String))),
        ("user", CelType.String), ("groups", s_strings), ("extra", CelType.Map(CelType.String, s_strings)), ("uid", CelType.String)));

    // Upstream's bound.
    private const int MaxConditions = 64;

    private readonly List<CelProgram> _programs = [];

    private AccessConditions()
    {
    }

    /// <summary>Compiles the conditions; what is wrong goes to the errors. Null when there are none.</summary>
    internal static AccessConditions? Compile(IReadOnlyList<(string Path, string Expression)> conditions, string path, FieldErrorList errors)
    {
        if (conditions.Count > MaxConditions)
        {
            errors.TooMany(path, conditions.Count, MaxConditions);
            return null;
        }
        var compiled = new AccessConditions();
        var seen = new HashSet<string>();
        foreach (var (place, expression) in conditions)
        {
            if (string.IsNullOrWhiteSpace(expression))
                errors.Required(place);
            else if (!seen.Add(expression))
                errors.Duplicate(place, expression);
            else
                compiled.Add(expression, place, errors);
        }
        return compiled._programs.Count == 0 ? null : compiled;
    }

    /// <summary>Whether the webhook is asked; or why that cannot be said.</summary>
    internal (bool Matches, string? Error) Match(AuthorizationRequest request)
    {
        using var document = Describe(request);
        var variables = new Request(CelJson.Of(document.Root));
        var errors = new List<string>();
        foreach (var program in _programs)
        {
            var value = program.Evaluate(variables).Value;
            if (value.IsError)
                errors.Add($"cel evaluation error: expression '{program.Source}' resulted in error: {value.AsString}");
            else if (!value.IsTrue)
                return (false, null);
        }
        return errors.Count == 0 ? (true, null) : (false, errors.Count == 1 ? errors[0] : $"[{string.Join(", ", errors)}]");
    }

    private void Add(string expression, string path, FieldErrorList errors)
    {
        var compiled = s_environment.Compile(expression);
        if (compiled.Instantiation.Length > 0)
            errors.Add(new FieldError(FieldErrorType.Internal, path, null, compiled.Problem!));
        else if (compiled.Program is null)
            errors.Invalid(path, expression, compiled.Problem!);
        else if (compiled.Program.ResultType.Kind != CelKind.Bool)
            errors.Invalid(path, expression, "must evaluate to bool");
        else
            _programs.Add(compiled.Program);
    }

    // Every attribute is there, the empty ones too, so that conditions need not ask for them.
    private static ApiObject Describe(AuthorizationRequest request)
    {
        var document = new ApiObject();
        var root = document.Root;
        root.Set("user"u8, request.User.Name);
        var groups = root.GetOrAddArray("groups"u8);
        foreach (var group in request.User.Groups)
            groups.AppendString(Encoding.UTF8.GetBytes(group));
        root.Set("uid"u8, request.User.Uid);
        var extra = root.GetOrAddObject("extra"u8);
        foreach (var (key, values) in request.User.Extra)
        {
            var list = extra.GetOrAddArray(Encoding.UTF8.GetBytes(key));
            foreach (var value in values)
                list.AppendString(Encoding.UTF8.GetBytes(value));
        }
        if (!request.IsResourceRequest)
        {
            var path = root.GetOrAddObject("nonResourceAttributes"u8);
            path.Set("verb"u8, request.Verb);
            path.Set("path"u8, request.Path);
            return document;
        }
        var resource = root.GetOrAddObject("resourceAttributes"u8);
        resource.Set("namespace"u8, request.Namespace);
        resource.Set("verb"u8, request.Verb);
        resource.Set("group"u8, request.Group);
        resource.Set("version"u8, request.Version);
        resource.Set("resource"u8, request.Resource);
        resource.Set("subresource"u8, request.Subresource);
        resource.Set("name"u8, request.Name);
        using var selectors = SelectorRequirements.Describe(request);
        foreach (var selector in selectors.Root.Members)
            resource.Set(selector.Name, selector.Value);
        return document;
    }

    private static CelType Of(string name, params (string Name, CelType Type)[] fields) => CelType.Object(name, fields.ToDictionary(static field => field.Name, static field => field.Type));

    private sealed class Request(CelValue request) : ICelVariables
    {
        public bool TryFind(string name, out CelValue value)
        {
            value = request;
            return name == "request";
        }
    }
}
