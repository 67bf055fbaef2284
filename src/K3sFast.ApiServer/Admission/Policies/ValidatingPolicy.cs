using System.Diagnostics;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>A validating admission policy, compiled. Evaluating it decides nothing yet: bindings say what follows.</summary>
internal sealed class ValidatingPolicy : AdmissionPolicy
{
    private readonly Rule[] _rules;
    private readonly (string Key, AdmissionExpression Value)[] _annotations;

    internal ValidatingPolicy(ApiNode policy) : base(policy)
    {
        var spec = policy["spec"u8];
        var rules = new List<Rule>();
        foreach (var validation in spec["validations"u8].Elements)
        {
            var message = validation["messageExpression"u8].AsString();
            rules.Add(new Rule(
                Compiler.Compile(validation["expression"u8].AsString(), AdmissionExpressionUse.Validation), validation["message"u8].AsString(),
                message.Length == 0 ? null : Compiler.Compile(message, AdmissionExpressionUse.Message), validation["reason"u8].AsString()));
        }
        _rules = [.. rules];
        var annotations = new List<(string, AdmissionExpression)>();
        foreach (var annotation in spec["auditAnnotations"u8].Elements)
            annotations.Add((annotation["key"u8].AsString(), Compiler.Compile(annotation["valueExpression"u8].AsString(), AdmissionExpressionUse.AuditAnnotation)));
        _annotations = [.. annotations];
    }

    /// <summary>Evaluates the policy for one request and one parameter.</summary>
    internal async ValueTask<PolicyVerdict> EvaluateAsync(PolicyVariables variables)
    {
        var (matches, problem) = await MatchAsync(variables).ConfigureAwait(false);
        if (problem is not null)
            return new PolicyVerdict([Failed(0, problem)], []);
        if (!matches)
            return PolicyVerdict.Nothing;
        try
        {
            var budget = new PolicyBudget(CelLimits.PerPolicy);
            var results = new PolicyResult[_rules.Length];
            var times = new TimeSpan[_rules.Length];
            for (var i = 0; i < results.Length; i++)
            {
                var started = Stopwatch.GetTimestamp();
                results[i] = await variables.EvaluateAsync(_rules[i].Expression, budget).ConfigureAwait(false);
                times[i] = Stopwatch.GetElapsedTime(started);
            }
            var decisions = await DecideAsync(variables, results, budget).ConfigureAwait(false);
            foreach (var decision in decisions)
                decision.Elapsed = times[decision.Index];
            return new PolicyVerdict(decisions, await AnnotateAsync(variables).ConfigureAwait(false));
        }
        catch (PolicyBudgetException spent)
        {
            return new PolicyVerdict([Failed(0, spent.Message)], []);
        }
    }

    private PolicyDecision Failed(int index, string message) => new(index, !IgnoresFailure, message, "", IsError: true);

    private async ValueTask<List<PolicyDecision>> DecideAsync(PolicyVariables variables, PolicyResult[] results, PolicyBudget budget)
    {
        var decisions = new List<PolicyDecision>(results.Length);
        string? spent = null;
        for (var i = 0; i < results.Length; i++)
        {
            var message = "";
            // Message expressions are evaluated whether they are needed or not; that is what the budget counts upstream.
            if (_rules[i].MessageExpression is { } expression && spent is null)
            {
                try
                {
                    message = Usable(await variables.EvaluateAsync(expression, budget).ConfigureAwait(false));
                }
                catch (PolicyBudgetException exhausted)
                {
                    spent = exhausted.Message;
                }
            }
            if (results[i].Error is { } error)
                decisions.Add(Failed(i, error));
            else if (spent is not null)
                decisions.Add(Failed(i, $"failed messageExpression: {spent}"));
            else if (!results[i].Value.IsTrue)
                decisions.Add(new PolicyDecision(i, true, message.Length > 0 ? message : _rules[i].OwnMessage, _rules[i].Reason, IsError: false));
        }
        return decisions;
    }

    // A message of several lines or of more bytes than fit is not used.
    private static string Usable(PolicyResult result)
    {
        var text = result.Error is null && result.Value.Kind == CelKind.String ? result.Value.AsString.Trim() : "";
        return text.Contains('\n', StringComparison.Ordinal) || System.Text.Encoding.UTF8.GetByteCount(text) > CelLimits.MessageBytes ? "" : text;
    }

    private async ValueTask<List<PolicyAnnotation>> AnnotateAsync(PolicyVariables variables)
    {
        var annotations = new List<PolicyAnnotation>();
        var budget = new PolicyBudget(CelLimits.PerPolicy);
        foreach (var (key, expression) in _annotations)
        {
            var result = await variables.EvaluateAsync(expression, budget).ConfigureAwait(false);
            if (result.Error is { } error)
            {
                if (!IgnoresFailure)
                    annotations.Add(new PolicyAnnotation(key, "", error));
            }
            else if (result.Value.Kind == CelKind.String && result.Value.AsString.Trim() is { Length: > 0 } value)
            {
                annotations.Add(new PolicyAnnotation(key, value, null));
            }
        }
        return annotations;
    }

    private sealed record Rule(AdmissionExpression Expression, string Message, AdmissionExpression? MessageExpression, string Reason)
    {
        internal string OwnMessage => Message.Trim() is { Length: > 0 } own ? own : $"failed expression: {Expression.Source.Trim()}";
    }
}

/// <summary>What one expression of a policy says against the request.</summary>
/// <param name="Index">Its place among the policy's validations.</param>
/// <param name="IsDenied">False for failures that the policy lets pass.</param>
/// <param name="Message">The words.</param>
/// <param name="Reason">The status' reason; "" = Invalid.</param>
/// <param name="IsError">It could not be evaluated.</param>
internal sealed record PolicyDecision(int Index, bool IsDenied, string Message, string Reason, bool IsError)
{
    /// <summary>How long its expression took.</summary>
    internal TimeSpan Elapsed { get; set; }
}

/// <summary>An annotation for the audit event, or what kept it from being made.</summary>
internal sealed record PolicyAnnotation(string Key, string Value, string? Error);

/// <summary>What a policy says of a request.</summary>
internal sealed record PolicyVerdict(IReadOnlyList<PolicyDecision> Decisions, IReadOnlyList<PolicyAnnotation> Annotations)
{
    internal static PolicyVerdict Nothing { get; } = new([], []);
}
