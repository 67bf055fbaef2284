
namespace K3sFast.ApiMachinery.Tests;

public sealed class SchemaTests
{
    [Fact]
    public void BuiltIn_EveryType_ReadsAndFindsItsFields()
    {
        foreach (var type in Schema.BuiltIn.Types)
        {
            foreach (var field in type.Fields)
            {
                Assert.True(type.TryGetField(field.JsonNameUtf8, out var found) && found == field, $"{type}.{field}");
                Assert.True(field.Kind != FieldKind.Message || field.Element is not null, $"{type}.{field}");
            }
        }
    }

    [Fact]
    public void BuiltIn_EveryResource_HasItsTypesAndIsFoundByBytes()
    {
        foreach (var resource in Schema.BuiltIn.Resources)
        {
            Assert.Equal(resource.Kind, resource.Type.Kind);
            Assert.True(resource.ListKind.Length == 0 || resource.ListType is not null, $"{resource}");
            Assert.Same(resource, Schema.BuiltIn.FindResource(resource.GroupUtf8, resource.VersionUtf8, resource.ResourceUtf8));
        }
    }

    [Theory]
    [InlineData("", "v1", "Pod")]
    [InlineData("", "v1", "PodList")]
    [InlineData("", "v1", "Status")]
    [InlineData("apps", "v1", "DeleteOptions")]
    [InlineData("", "v1", "WatchEvent")]
    [InlineData("", "v1", "List")]
    [InlineData("autoscaling", "v1", "Scale")]
    [InlineData("policy", "v1", "Eviction")]
    [InlineData("", "v1", "Binding")]
    [InlineData("authentication.k8s.io", "v1", "TokenRequest")]
    [InlineData("authorization.k8s.io", "v1", "SelfSubjectAccessReview")]
    [InlineData("meta.k8s.io", "v1", "PartialObjectMetadata")]
    [InlineData("meta.k8s.io", "v1", "Table")]
    public void FindType_TopLevelKind_IsThere(string group, string version, string kind) =>
        Assert.Equal(kind, Schema.BuiltIn.FindType(group, version, kind)?.Name);

    [Fact]
    public void Field_OfPodSpec_CarriesItsRules()
    {
        var containers = Text.Type("core.v1.PodSpec").FindField("containers")!;

        Assert.Equal((1 + 1, FieldCardinality.List, FieldKind.Message, true, false), (containers.ProtoNumber, containers.Cardinality, containers.Kind, containers.Required, containers.OmitEmpty));
        Assert.Equal(("name", "map", "name"), (containers.PatchMergeKey, containers.ListType, containers.ListMapKeys[0]));
        Assert.True(containers.PatchMerge);
        Assert.Equal(["Always", "Never", "OnFailure"], Text.Type("core.v1.PodSpec").FindField("restartPolicy")!.Enum);
        Assert.NotNull(Text.Type("core.v1.Volume").FindField("hostPath"));
    }

    [Fact]
    public void FindResource_ByBytes_AllocatesNothing()
    {
        _ = Schema.BuiltIn.FindResource("apps"u8, "v1"u8, "deployments"u8);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            _ = Schema.BuiltIn.FindResource("apps"u8, "v1"u8, "deployments"u8);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Load_AgainFromTheTables_CostsFewMegabytes()
    {
        _ = SchemaTable.LoadBuiltIn();
        var before = GC.GetAllocatedBytesForCurrentThread();
        _ = SchemaTable.LoadBuiltIn();

        // Everything that start-up pays for the schema, in time as in memory, is in these bytes.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 1, 8 << 20);
    }
}
