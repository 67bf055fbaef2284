using K3sFast.Kubelet.Containers;

namespace K3sFast.Kubelet.Tests.Containers;

public sealed class VariableExpansionTests
{
    [Theory]
    [InlineData("$(A)", "1")]
    [InlineData("x$(A)y$(B)", "x1y2")]
    [InlineData("$(MISSING)", "$(MISSING)")]
    [InlineData("$$(A)", "$(A)")]
    [InlineData("$$$(A)", "$1")]
    [InlineData("$A", "$A")]
    [InlineData("$(A", "$(A")]
    [InlineData("cost: 5$", "cost: 5$")]
    public void Expand_Text_FollowsTheRules(string text, string expected) =>
        Assert.Equal(expected, VariableExpansion.Expand(text, name => name switch { "A" => "1", "B" => "2", _ => null }));
}
