namespace K3sFast.ApiMachinery.Tests;

/// <summary>What the status of a policy says of its expressions.</summary>
public sealed class AdmissionTypeCheckTests
{
    private static readonly AdmissionRule s_deployments = new(["apps"], ["v1"], ["deployments"]);
    private static readonly AdmissionRule s_pods = new([""], ["v1"], ["pods", "pods/status", "no-such"]);

    [Theory]
    [InlineData("object.spec.replicas > 1")]
    [InlineData("object.metadata.creationTimestamp < now || true", "undeclared reference to 'now' (in container '')", 36)]
    [InlineData("object.metadata.name == 'a' && oldObject.metadata.labels['b'] == 'c'")]
    [InlineData("object.metadata.__namespace__ == 'a'")]
    [InlineData("object.metadata.namespace == 'a'")]
    [InlineData("object.spec.replics > 1", "undefined field 'replics'", 11)]
    [InlineData("object.spec.template.spec.containers.all(c, c.imagePullPolicy == 1)", "found no matching overload for '_==_' applied to '(string, int)'", 62)]
    [InlineData("object.spec.strategy.rollingUpdate.maxSurge == 1 || object.spec.strategy.rollingUpdate.maxSurge == '10%'")]
    [InlineData("object.spec.template.spec.containers[0].resources.limits['cpu'] == '1'")]
    [InlineData("variables.replicas > 1")]
    [InlineData("variables.replicas == 'a'", "found no matching overload for '_==_' applied to '(int, string)'", 19)]
    [InlineData("authorizer.path('/a').check('get').allowed()")]
    [InlineData("params.data['a'] == 'b'")]
    [InlineData("params.spec == 'b'", "undefined field 'spec'", 6)]
    [InlineData("object.spec.replicas")]
    public void Expression_ForDeployments_IsCheckedAgainstTheirFields(string expression, string problem = "", int column = -1)
    {
        string wanted = problem.Length == 0 ? "" : $"apps/v1, Kind=Deployment: ERROR: <input>:1:{column + 1}: {problem}\n | {expression}\n | {new string('.', column)}^\n";
        var check = new AdmissionTypeCheck([s_deployments], ("v1", "ConfigMap"), [("replicas", "object.spec.replicas")]);
        Assert.Equal(wanted, check.Check(expression));
    }

    [Fact]
    public void Expression_ForSeveralKinds_TellsOfEachInOrder()
    {
        var check = new AdmissionTypeCheck([s_deployments, s_pods], null, []);
        Assert.Equal(
            "/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'x'\n | object.spec.x == 1\n | ...........^\n\n"
            + "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'x'\n | object.spec.x == 1\n | ...........^\n",
            check.Check("object.spec.x == 1"));
        Assert.Contains("/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'replicas'", check.Check("object.spec.replicas == 1"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("*", "v1", "pods")]
    [InlineData("", "*", "pods")]
    [InlineData("", "v1", "*")]
    [InlineData("", "v1", "pods/status")]
    [InlineData("example.org", "v1", "widgets")]
    public void Expression_ForKindsThatAreNotSaid_IsNotChecked(string group, string version, string resource) =>
        Assert.Equal("", new AdmissionTypeCheck([new AdmissionRule([group], [version], [resource])], null, []).Check("object.x.y.z == no"));
}
