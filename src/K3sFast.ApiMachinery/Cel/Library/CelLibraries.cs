namespace K3sFast.ApiMachinery;

/// <summary>The libraries, and how one is written: functions of named signatures with their bodies.</summary>
internal static class CelLibraries
{
    internal static readonly CelType A = CelType.Parameter("A");
    internal static readonly CelType B = CelType.Parameter("B");
    internal static readonly CelType ListOfA = CelType.List(A);
    internal static readonly CelType MapOfAB = CelType.Map(A, B);

    private static readonly Dictionary<string, CelType> s_extensions = new CelType[]
    {
        CelQuantityLibrary.Type, CelUrlLibrary.Type, CelFormatLibrary.Type, CelSemverLibrary.Type, CelAddressLibrary.IPType, CelAddressLibrary.CidrType,
        CelAuthorizerLibrary.AuthorizerType, CelAuthorizerLibrary.PathCheckType, CelAuthorizerLibrary.GroupCheckType, CelAuthorizerLibrary.ResourceCheckType, CelAuthorizerLibrary.DecisionType,
    }.ToDictionary(static type => type.Name);

    /// <summary>What Kubernetes 1.36 turns on for every expression.</summary>
    internal static Dictionary<string, CelFunction> Kubernetes()
    {
        var all = new Dictionary<string, CelFunction>();
        IEnumerable<CelFunction>[] libraries =
        [
            CelOperators.Functions, CelConversions.Functions, CelTimeLibrary.Functions, CelStringLibrary.Functions, CelRegexLibrary.Functions, CelListLibrary.Functions,
            CelSetLibrary.Functions, CelOptionalLibrary.Functions, CelUrlLibrary.Functions, CelQuantityLibrary.Functions, CelAddressLibrary.Functions, CelFormatLibrary.Functions,
            CelSemverLibrary.Functions, CelAuthorizerLibrary.Functions,
        ];
        foreach (var function in libraries.SelectMany(static library => library))
            all[function.Name] = all.TryGetValue(function.Name, out var known) ? known.With(function) : function;
        return all;
    }

    /// <summary>The type of an extension; null when the name is none.</summary>
    internal static CelType? ExtensionType(string name) => s_extensions.GetValueOrDefault(name);

    internal static CelFunction Function(string name, params CelOverload[] overloads) => new(name, overloads);

    /// <summary>A function whose body looks at the values' kinds itself.</summary>
    internal static CelFunction Function(string name, CelCall body, params CelOverload[] overloads) => new(name, overloads, body);

    internal static CelOverload Global(string id, CelType[] args, CelType result, CelCall? body = null) => new(id, false, args, result, body);

    internal static CelOverload Member(string id, CelType[] args, CelType result, CelCall? body = null) => new(id, true, args, result, body);
}
