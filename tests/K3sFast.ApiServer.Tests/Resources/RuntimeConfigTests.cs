using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer.Tests;

public sealed class RuntimeConfigTests
{
    [Theory]
    [InlineData("foo/v1=true", "unknown api groups foo/v1")]
    [InlineData("apps/v7=true", "group version apps/v7 that has not been registered")]
    [InlineData("apps/v1=maybe", "invalid value of apps/v1: maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax")]
    [InlineData("batch=true", "runtime-config invalid key batch")]
    [InlineData("api/all=yes", "invalid value api/all=yes")]
    [InlineData("apps/v1/Deployments=true", "invalid key apps/v1/Deployments: group/version/resource and resource is always lowercase plural, not \"Deployments\"")]
    public void Parse_WhatIsNotKnown_IsRefusedInUpstreamsWords(string text, string message) =>
        Assert.Equal(message, Assert.Throws<ApiServerStartException>(() => RuntimeConfig.Parse(text)).Message);

    [Theory]
    [InlineData("", "admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicies", false)]
    [InlineData("api/beta=true", "admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicies", true)]
    [InlineData("api/beta=true", "certificates.k8s.io", "v1beta1", "clustertrustbundles", false)]
    [InlineData("api/all=true", "storage.k8s.io", "v1beta1", "volumeattributesclasses", true)]
    [InlineData("storage.k8s.io/v1beta1", "storage.k8s.io", "v1beta1", "volumeattributesclasses", true)]
    [InlineData("batch/v1=false", "batch", "v1", "jobs", false)]
    [InlineData("batch/v1=false,batch/v1/jobs=true", "batch", "v1", "jobs", true)]
    [InlineData("api/ga=false,apps/v1=true", "apps", "v1", "deployments", true)]
    [InlineData("api/ga=false,apps/v1=true", "batch", "v1", "jobs", false)]
    public void Served_ByTheNarrowestKey_AndByItsGate(string text, string group, string version, string resource, bool isServed) =>
        Assert.Equal(isServed, RuntimeConfig.Parse(text).IsServed(Schema.BuiltIn.FindResource(group, version, resource)!));
}
