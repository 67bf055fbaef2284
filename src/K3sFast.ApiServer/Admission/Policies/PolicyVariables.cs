using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// The variables of one policy's evaluation for one request and one parameter. The policy's own variables are evaluated when they are first used, once;
/// what that costs is kept apart and taken from the budget of the expression that used them.
/// </summary>
internal sealed class PolicyVariables : ICelVariables
{
    private readonly AdmissionRequest.Versioned _request;
    private readonly CelValue _params, _authorizer, _resourceCheck, _composed;
    private readonly LazyVariables _lazy;

    internal PolicyVariables(
        AdmissionRequest request, AdmissionRequest.Versioned form, ApiNode parameter, PolicyAuthorizer authorizer, IReadOnlyDictionary<string, AdmissionExpression> variables)
    {
        _request = form;
        Authorizer = authorizer;
        _params = CelJson.Of(parameter);
        _authorizer = CelAuthorizerLibrary.Authorizer(authorizer);
        _resourceCheck = CelAuthorizerLibrary.ResourceCheck(authorizer, new CelQuestion(
            null, "", null, request.Resource.Group, request.Resource.Resource, request.Subresource, request.Namespace, request.Name));
        _lazy = new LazyVariables(this, variables);
        _composed = CelValue.Of(_lazy);
    }

    internal PolicyAuthorizer Authorizer { get; }

    public bool TryFind(string name, out CelValue value)
    {
        value = name switch
        {
            "object" => _request.Object,
            "oldObject" => _request.OldObject,
            "request" => _request.Request,
            "namespaceObject" => _request.Namespace,
            "params" => _params,
            "authorizer" => _authorizer,
            "authorizer.requestResource" => _resourceCheck,
            "variables" => _composed,
            _ => default,
        };
        return name is "object" or "oldObject" or "request" or "namespaceObject" or "params" or "authorizer" or "authorizer.requestResource" or "variables";
    }

    /// <summary>Evaluates one expression within what is left of the budget.</summary>
    internal async ValueTask<PolicyResult> EvaluateAsync(AdmissionExpression expression, PolicyBudget budget)
    {
        if (expression.Program is not { } program)
            return new PolicyResult(default, $"compilation error: {expression.Problem}");
        var outcome = await Authorizer.EvaluateAsync(program, this).ConfigureAwait(false);
        if (!budget.TrySpend(_lazy.TakeCost() + outcome.Cost))
            throw new PolicyBudgetException();
        return outcome.Value.IsError ? new PolicyResult(default, $"expression '{expression.Source}' resulted in error: {outcome.Value.AsString}") : new PolicyResult(outcome.Value, null);
    }

    private sealed class LazyVariables(PolicyVariables owner, IReadOnlyDictionary<string, AdmissionExpression> variables) : CelMap
    {
        private readonly Dictionary<string, CelValue> _values = [];
        private long _cost;

        public override int Count => variables.Count;

        public override IEnumerable<CelValue> Keys => variables.Keys.Select(static name => CelValue.Of(name));

        public override bool TryGet(CelValue key, out CelValue value) => TryGet(key.AsString, out value);

        public override bool TryGet(string key, out CelValue value)
        {
            if (_values.TryGetValue(key, out value))
                return true;
            if (!variables.TryGetValue(key, out var variable))
                return false;
            if (variable.Program is { } program)
            {
                var outcome = program.Evaluate(owner);
                _cost += outcome.Cost;
                value = outcome.Value.IsError ? CelValue.Error($"composited variable {GoText.Quote(key)} fails to evaluate: {outcome.Value.AsString}") : outcome.Value;
            }
            else
            {
                value = CelValue.Error($"composited variable {GoText.Quote(key)} fails to compile: {variable.Problem}");
            }
            _values[key] = value;
            return true;
        }

        internal long TakeCost()
        {
            var cost = _cost;
            _cost = 0;
            return cost;
        }
    }
}

/// <summary>What became of one expression: a value, or what went wrong.</summary>
internal readonly record struct PolicyResult(CelValue Value, string? Error);

/// <summary>What a policy may still spend on one request.</summary>
internal sealed class PolicyBudget(long left)
{
    private long _left = left;

    internal bool TrySpend(long cost)
    {
        _left -= cost;
        return _left >= 0;
    }
}

/// <summary>The budget is spent; nothing more of the policy is evaluated.</summary>
internal sealed class PolicyBudgetException() : Exception("validation failed due to running out of cost budget, no further validation rules will be run");
