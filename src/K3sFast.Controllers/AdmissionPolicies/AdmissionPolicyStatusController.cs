using K3sFast.ApiMachinery;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Tells in the status of a validating admission policy what its expressions have against the kinds that it matches.</summary>
internal sealed class AdmissionPolicyStatusController : Controller
{
    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1ValidatingAdmissionPolicy> _policies;
    private readonly WorkQueue<string> _queue;

    internal AdmissionPolicyStatusController(ControllerContext context) : base("validatingadmissionpolicy-status-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<string>());
        _policies = context.Informers.Get(Resources.ValidatingAdmissionPolicies);
        _policies.AddHandler(new InformerHandler<V1ValidatingAdmissionPolicy>(policy => _queue.Add(policy.Metadata.Name), (_, policy) => _queue.Add(policy.Metadata.Name)));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken);

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        if (_policies.Get(null, name) is not { } policy || policy.Metadata.Generation <= (policy.Status?.ObservedGeneration ?? 0))
            return;
        var warnings = WarningsOf(policy.Spec);
        var status = (policy.Status ?? new V1ValidatingAdmissionPolicyStatus()) with
        {
            ObservedGeneration = policy.Metadata.Generation,
            TypeChecking = new V1TypeChecking { ExpressionWarnings = warnings.Count == 0 ? null : warnings },
        };
        await _client.UpdateStatusAsync(Resources.ValidatingAdmissionPolicies, policy with { Status = status }, cancellationToken).ConfigureAwait(false);
    }

    private static List<V1ExpressionWarning> WarningsOf(V1ValidatingAdmissionPolicySpec spec)
    {
        var check = new AdmissionTypeCheck(
            (spec.MatchConstraints?.ResourceRules ?? []).Select(static rule => new AdmissionRule([.. rule.ApiGroups ?? []], [.. rule.ApiVersions ?? []], [.. rule.Resources ?? []])),
            spec.ParamKind is { } kind ? (kind.ApiVersion, kind.Kind) : null,
            [.. (spec.Variables ?? []).Select(static variable => (variable.Name, variable.Expression))]);
        var warnings = new List<V1ExpressionWarning>();
        for (int i = 0; i < (spec.Validations?.Count ?? 0); i++)
        {
            Add($"spec.validations[{i}].expression", spec.Validations![i].Expression);
            Add($"spec.validations[{i}].messageExpression", spec.Validations[i].MessageExpression);
        }
        return warnings;

        void Add(string field, string? expression)
        {
            if (!string.IsNullOrEmpty(expression) && check.Check(expression) is { Length: > 0 } warning)
                warnings.Add(new V1ExpressionWarning { FieldRef = field, Warning = warning });
        }
    }
}
