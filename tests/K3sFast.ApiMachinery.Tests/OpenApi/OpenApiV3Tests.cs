using System.Text.Json;

namespace K3sFast.ApiMachinery.Tests;

public sealed class OpenApiV3Tests
{
    public static TheoryData<string, string> GroupVersions()
    {
        var data = new TheoryData<string, string>();
        foreach (var (group, version) in OpenApiV3.GroupVersions)
            data.Add(group, version);
        return data;
    }

    [Theory]
    [MemberData(nameof(GroupVersions))]
    public void WriteGroupVersion_EveryReference_IsDefinedInTheDocument(string group, string version)
    {
        using var document = JsonDocument.Parse(OpenApiV3.WriteGroupVersion(group, version)!);
        var schemas = document.RootElement.GetProperty("components").GetProperty("schemas");
        var names = schemas.EnumerateObject().Select(static schema => schema.Name).ToHashSet();
        var missing = References(document.RootElement).Where(reference => !names.Contains(reference)).Distinct().ToArray();

        Assert.Empty(missing);
        Assert.NotEmpty(document.RootElement.GetProperty("paths").EnumerateObject());
    }

    [Fact]
    public void WriteGroupVersion_PatchOperation_TakesFieldValidation()
    {
        using var document = JsonDocument.Parse(OpenApiV3.WriteGroupVersion("apps", "v1")!);
        var patch = document.RootElement.GetProperty("paths").GetProperty("/apis/apps/v1/namespaces/{namespace}/deployments/{name}").GetProperty("patch");

        Assert.Contains("fieldValidation", patch.GetProperty("parameters").EnumerateArray().Select(static parameter => parameter.GetProperty("name").GetString()));
        Assert.Equal("Deployment", patch.GetProperty("x-kubernetes-group-version-kind").GetProperty("kind").GetString());
    }

    [Fact]
    public void WriteGroupVersion_ContainersOfPodSpec_CarryMergeAndMapKeys()
    {
        using var document = JsonDocument.Parse(OpenApiV3.WriteGroupVersion("", "v1")!);
        var schemas = document.RootElement.GetProperty("components").GetProperty("schemas");
        var containers = schemas.GetProperty("io.k8s.api.core.v1.PodSpec").GetProperty("properties").GetProperty("containers");

        Assert.Equal(
            """{"type":"array","items":{"$ref":"#/components/schemas/io.k8s.api.core.v1.Container"},"x-kubernetes-list-map-keys":["name"],"x-kubernetes-list-type":"map","x-kubernetes-patch-merge-key":"name","x-kubernetes-patch-strategy":"merge"}""",
            containers.GetRawText());
        Assert.Contains("containers", schemas.GetProperty("io.k8s.api.core.v1.PodSpec").GetProperty("required").EnumerateArray().Select(static field => field.GetString()));
    }

    [Fact]
    public void WriteIndex_EachGroupVersion_HasPathAndHash()
    {
        using var index = JsonDocument.Parse(OpenApiV3.WriteIndex());
        var paths = index.RootElement.GetProperty("paths");

        Assert.Equal($"/openapi/v3/api/v1?hash={OpenApiV3.HashOf("", "v1")}", paths.GetProperty("api/v1").GetProperty("serverRelativeURL").GetString());
        Assert.Equal(OpenApiV3.GroupVersions.Count, paths.EnumerateObject().Count());
        Assert.Equal(128, OpenApiV3.HashOf("apps", "v1")!.Length);
    }

    private static IEnumerable<string> References(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().SelectMany(static member =>
            member.Name == "$ref" && member.Value.ValueKind == JsonValueKind.String
                ? [member.Value.GetString()!["#/components/schemas/".Length..]]
                : References(member.Value)),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(References),
        _ => [],
    };
}
