namespace K3sFast.ApiMachinery.Tests;

public sealed class FeatureGatesTests
{
    [Theory]
    [InlineData("Foo=true", "unrecognized feature gate: Foo")]
    [InlineData("Foo", "missing bool value for Foo")]
    [InlineData("ContainerStopSignals=x", "invalid value of ContainerStopSignals=x, err: strconv.ParseBool: parsing \"x\": invalid syntax")]
    [InlineData("APIServerTracing=false", "cannot set feature gate APIServerTracing to false, feature is locked to true")]
    public void Parse_WhatCannotBeSet_IsRefusedInUpstreamsWords(string text, string message)
    {
        var error = Assert.Throws<FeatureGateException>(() => FeatureGates.Parse(text));
        Assert.Equal(message, error.Message);
    }

    [Fact]
    public void Parse_AllAlpha_TurnsOnWhatIsNotNamed()
    {
        var gates = FeatureGates.Parse("AllAlpha=true,ContainerStopSignals=false");
        Assert.True(gates.IsOn("GenericWorkload"));
        Assert.False(gates.IsOn("ContainerStopSignals"));
        Assert.False(gates.IsOn("SELinuxMount"));
        Assert.True(gates.IsOn("StrictIPCIDRValidation"));
    }

    [Theory]
    [InlineData("pods", """{"metadata":{"name":"a","namespace":"n"},"spec":{"schedulingGroup":{"podGroupName":"g"},"containers":[{"name":"c","image":"i","lifecycle":{"stopSignal":"SIGUSR1"}}]}}""", "schedulingGroup", "stopSignal")]
    [InlineData("leases.coordination.k8s.io", """{"metadata":{"name":"a","namespace":"n"},"spec":{"strategy":"x","preferredHolder":"y"}}""", "strategy", "preferredHolder")]
    [InlineData("statefulsets.apps", """{"metadata":{"name":"a","namespace":"n"},"spec":{"updateStrategy":{"rollingUpdate":{"maxUnavailable":2}},"selector":{},"template":{"spec":{"schedulingGroup":{}}}}}""", "maxUnavailable", "schedulingGroup")]
    public void Create_FieldsOfDisabledFeatures_AreDropped(string resource, string json, params string[] fields)
    {
        using var created = Rules.Created(resource, json);
        foreach (var field in fields)
            Assert.DoesNotContain($"\"{field}\"", created.Root.ToString());
    }

    [Fact]
    public void Update_FieldOfDisabledFeatureInUse_IsKept()
    {
        const string Json = """{"metadata":{"name":"a","namespace":"n"},"spec":{"strategy":"x"}}""";
        using var old = Rules.Defaulted("leases.coordination.k8s.io", Json);
        using var updated = Rules.Defaulted("leases.coordination.k8s.io", Json);
        RestStrategy.PrepareForUpdate(updated.Root, old.Root, Rules.Resource("leases.coordination.k8s.io"), "");
        Assert.Equal("x", updated.Root["spec"u8]["strategy"u8].AsString());
    }
}
