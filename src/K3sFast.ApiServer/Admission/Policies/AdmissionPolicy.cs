using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>The part that validating and mutating policies share, compiled: constraints, match conditions, variables, parameters. Immutable but for its bindings' list.</summary>
internal abstract class AdmissionPolicy
{
    private readonly (string Name, AdmissionExpression Expression)[] _conditions;

    private protected AdmissionPolicy(ApiNode policy)
    {
        var spec = policy["spec"u8];
        Name = policy["metadata"u8]["name"u8].AsString();
        IgnoresFailure = spec["failurePolicy"u8].Equals("Ignore"u8);
        Constraints = new MatchResources(spec["matchConstraints"u8]);
        var kind = spec["paramKind"u8];
        if (kind.Kind == NodeKind.Object)
            ParamKind = (kind["apiVersion"u8].AsString(), kind["kind"u8].AsString());
        Compiler = new AdmissionCompiler(ParamKind is not null, hasVariables: true);
        var variables = new Dictionary<string, AdmissionExpression>();
        foreach (var variable in spec["variables"u8].Elements)
            variables[variable["name"u8].AsString()] = Compiler.AddVariable(variable["name"u8].AsString(), variable["expression"u8].AsString());
        Variables = variables;
        var conditions = new List<(string, AdmissionExpression)>();
        foreach (var condition in spec["matchConditions"u8].Elements)
            conditions.Add((condition["name"u8].AsString(), Compiler.Compile(condition["expression"u8].AsString(), AdmissionExpressionUse.MatchCondition)));
        _conditions = [.. conditions];
    }

    internal string Name { get; }

    /// <summary>A policy that cannot be evaluated lets the request pass.</summary>
    internal bool IgnoresFailure { get; }

    internal MatchResources Constraints { get; }

    internal (string ApiVersion, string Kind)? ParamKind { get; }

    internal IReadOnlyDictionary<string, AdmissionExpression> Variables { get; }

    private protected AdmissionCompiler Compiler { get; }

    /// <summary>Whether the match conditions hold; or why that cannot be said.</summary>
    internal async ValueTask<(bool Matches, string? Error)> MatchAsync(PolicyVariables variables)
    {
        if (_conditions.Length == 0)
            return (true, null);
        var budget = new PolicyBudget(CelLimits.MatchConditions);
        var errors = new List<string>();
        try
        {
            foreach (var (_, expression) in _conditions)
            {
                var result = await variables.EvaluateAsync(expression, budget).ConfigureAwait(false);
                if (result.Error is { } error)
                    errors.Add(error);
                else if (!result.Value.IsTrue)
                    return (false, null);
            }
        }
        catch (PolicyBudgetException spent)
        {
            return IgnoresFailure ? (false, null) : (false, spent.Message);
        }
        if (errors.Count == 0)
            return (true, null);
        return IgnoresFailure ? (false, null) : (false, errors.Count == 1 ? errors[0] : $"[{string.Join(", ", errors.Distinct())}]");
    }
}

/// <summary>A binding: which policy, for which requests, with which parameters and, of validating ones, which actions.</summary>
internal sealed class PolicyBinding
{
    internal PolicyBinding(ApiNode binding)
    {
        var spec = binding["spec"u8];
        Name = binding["metadata"u8]["name"u8].AsString();
        PolicyName = spec["policyName"u8].AsString();
        if (spec["matchResources"u8].Kind == NodeKind.Object)
            Resources = new MatchResources(spec["matchResources"u8]);
        var actions = new List<string>();
        foreach (var action in spec["validationActions"u8].Elements)
            actions.Add(action.AsString());
        Actions = [.. actions];
        var reference = spec["paramRef"u8];
        if (reference.Kind != NodeKind.Object)
            return;
        var selector = reference["selector"u8];
        Params = new ParamReference(
            reference["name"u8].AsString(), reference["namespace"u8].AsString(), selector.Kind == NodeKind.Object ? LabelSelector.FromNode(selector) : null,
            reference["parameterNotFoundAction"u8].Equals("Deny"u8));
    }

    internal string Name { get; }

    internal string PolicyName { get; }

    /// <summary>Null = all that the policy is about.</summary>
    internal MatchResources? Resources { get; }

    internal string[] Actions { get; }

    internal ParamReference? Params { get; }
}

/// <summary>Where a binding's parameters are.</summary>
internal sealed record ParamReference(string Name, string Namespace, LabelSelector? Selector, bool DeniesWhenMissing);

/// <summary>A policy with the bindings that put it in force.</summary>
internal sealed record PolicyHook<TPolicy>(TPolicy Policy, IReadOnlyList<PolicyBinding> Bindings)
    where TPolicy : AdmissionPolicy;

/// <summary>
/// The policies in force, read from the watch cache and compiled once per version of a policy. What is in the cache is in force for the next request.
/// </summary>
/// <remarks>Any thread. Costs nothing while there are no bindings, else a walk over the revisions.</remarks>
internal sealed class PolicySource<TPolicy>(ResourceStorage policies, ResourceStorage bindings, Func<ApiNode, TPolicy> compile)
    where TPolicy : AdmissionPolicy
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly Dictionary<string, (long Revision, TPolicy Policy)> _compiled = [];

    private State _state = new(0, []);

    /// <summary>The policies that have bindings, in the order of their names.</summary>
    internal IReadOnlyList<PolicyHook<TPolicy>> Current()
    {
        if (bindings.Cache.Count == 0)
            return [];
        var signature = Signature();
        var state = Volatile.Read(ref _state);
        if (state.Signature == signature)
            return state.Hooks;
        lock (_gate)
        {
            if (_state.Signature != signature)
                Volatile.Write(ref _state, new State(signature, ReadLocked()));
            return _state.Hooks;
        }
    }

    // Revisions are unique in the store, so those of all objects tell the contents.
    private long Signature()
    {
        var hash = new HashCode();
        foreach (var policy in policies.All(null))
            hash.Add(policy.Revision);
        foreach (var binding in bindings.All(null))
            hash.Add(binding.Revision);
        return ((long)policies.Cache.Count << 48) ^ ((long)bindings.Cache.Count << 32) ^ (uint)hash.ToHashCode() | 1;
    }

    private List<PolicyHook<TPolicy>> ReadLocked()
    {
        var bound = new Dictionary<string, List<PolicyBinding>>();
        foreach (var stored in bindings.All(null))
        {
            using var document = bindings.Decode(stored);
            var binding = new PolicyBinding(document.Root);
            if (!bound.TryGetValue(binding.PolicyName, out var list))
                bound[binding.PolicyName] = list = [];
            list.Add(binding);
        }
        var hooks = new List<PolicyHook<TPolicy>>();
        foreach (var stored in policies.All(null))
        {
            if (bound.TryGetValue(stored.Name(), out var list))
                hooks.Add(new PolicyHook<TPolicy>(CompiledLocked(stored), list));
        }
        foreach (var name in _compiled.Keys.Where(name => !bound.ContainsKey(name)).ToList())
            _compiled.Remove(name);
        return hooks;
    }

    private TPolicy CompiledLocked(StoredObject stored)
    {
        var name = stored.Name();
        if (_compiled.TryGetValue(name, out var known) && known.Revision == stored.Revision)
            return known.Policy;
        using var document = policies.Decode(stored);
        var policy = compile(document.Root);
        _compiled[name] = (stored.Revision, policy);
        return policy;
    }

    private sealed record State(long Signature, IReadOnlyList<PolicyHook<TPolicy>> Hooks);
}
