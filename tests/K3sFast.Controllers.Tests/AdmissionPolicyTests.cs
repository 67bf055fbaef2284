using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers.Tests;

public sealed class AdmissionPolicyTests
{
    [Fact]
    public async Task Policy_WithExpressionsThatDoNotFitItsKinds_IsToldSoInItsStatus()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.ValidatingAdmissionPolicies, Policy("wrong", "object.spec.replicas > '1'", "'need ' + object.spec.nothing"));
        await cluster.CreateAsync(Resources.ValidatingAdmissionPolicies, Policy("right", "object.spec.replicas > 1", null));

        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.ValidatingAdmissionPolicies, "wrong"))?.Status?.TypeChecking is not null, "checked");
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.ValidatingAdmissionPolicies, "right"))?.Status?.ObservedGeneration == 1, "seen");

        var wrong = (await cluster.FindAsync(Resources.ValidatingAdmissionPolicies, "wrong"))!.Status.TypeChecking.ExpressionWarnings;
        Assert.Equal(["spec.validations[0].expression", "spec.validations[0].messageExpression"], wrong.Select(static warning => warning.FieldRef));
        Assert.Equal(
            "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n"
            + " | object.spec.replicas > '1'\n | .....................^\n",
            wrong[0].Warning);
        Assert.Contains("undefined field 'nothing'", wrong[1].Warning, StringComparison.Ordinal);
        Assert.Null((await cluster.FindAsync(Resources.ValidatingAdmissionPolicies, "right"))!.Status.TypeChecking.ExpressionWarnings);
    }

    private static V1ValidatingAdmissionPolicy Policy(string name, string expression, string? message) => new()
    {
        Metadata = new V1ObjectMeta { Name = name, Generation = 1 },
        Spec = new V1ValidatingAdmissionPolicySpec
        {
            MatchConstraints = new V1MatchResources
            {
                ResourceRules = [new V1NamedRuleWithOperations { ApiGroups = ["apps"], ApiVersions = ["v1"], Resources = ["deployments"], Operations = ["*"] }],
            },
            Validations = [new V1Validation { Expression = expression, MessageExpression = message }],
        },
    };
}
