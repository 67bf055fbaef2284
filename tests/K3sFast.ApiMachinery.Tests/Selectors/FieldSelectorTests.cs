namespace K3sFast.ApiMachinery.Tests;

public sealed class FieldSelectorTests
{
    private static ResourceInfo Resource(string group, string version, string name) => Schema.BuiltIn.FindResource(group, version, name)!;

    [Theory]
    [InlineData("metadata.name=web", true)]
    [InlineData("metadata.name==web,status.phase!=Failed", true)]
    [InlineData("spec.host=edge-1", true)]
    [InlineData("spec.nodeName=edge-2", false)]
    [InlineData("spec.hostNetwork=false", true)]
    [InlineData("spec.nodeName!=", true)]
    [InlineData("status.nominatedNodeName=", true)]
    [InlineData("metadata.name=a\\,b", false)]
    public void Matches_Pod_AsUpstream(string text, bool expected)
    {
        using var pod = Text.Decode("""{"metadata":{"name":"web"},"spec":{"nodeName":"edge-1"},"status":{"phase":"Running"}}""");

        Assert.Equal(expected, FieldSelector.Parse(text, Resource("", "v1", "pods")).Matches(pod.Root));
    }

    [Theory]
    [InlineData("", "v1", "pods", "spec.foo=1", "field label not supported: spec.foo")]
    [InlineData("apps", "v1", "deployments", "spec.foo=1", "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")]
    [InlineData("batch", "v1", "jobs", "spec.foo=1", "field label \"spec.foo\" not supported for Job")]
    [InlineData("", "v1", "pods", "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'")]
    [InlineData("", "v1", "pods", "metadata.name=a\\b", "invalid field selector: invalid escape sequence: \\b")]
    [InlineData("", "v1", "pods", "metadata.name=a=b", "invalid field selector: unescaped character in value: 61")]
    public void Parse_Wrong_RefusesInUpstreamsWords(string group, string version, string resource, string text, string words) =>
        Assert.Equal(words, Text.Refusal(() => FieldSelector.Parse(text, Resource(group, version, resource))).Message);

    [Fact]
    public void TryGetExact_NameTerm_GivesTheName()
    {
        var selector = FieldSelector.Parse("metadata.name=web", Resource("", "v1", "pods"));

        Assert.True(selector.TryGetExact("metadata.name", out var name));
        Assert.Equal("web", name);
    }
}
