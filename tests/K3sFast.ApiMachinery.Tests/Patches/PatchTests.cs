using System.Text;

namespace K3sFast.ApiMachinery.Tests;

public sealed class PatchTests
{
    [Theory]
    [InlineData("""{"a":1,"b":{"c":2,"d":3}}""", """{"a":null,"b":{"c":4,"e":{"f":null,"g":1}},"h":[null,1]}""", """{"b":{"c":4,"d":3,"e":{"g":1}},"h":[null,1]}""")]
    [InlineData("""{"a":[1,2]}""", """{"a":{"b":null}}""", """{"a":{}}""")]
    [InlineData("""{"a":{"b":1}}""", """{"a":[3]}""", """{"a":[3]}""")]
    public void JsonMergePatch_Document_IsMerged(string target, string patch, string expected)
    {
        using var document = Text.Decode(target);
        JsonMergePatch.Apply(document, Encoding.UTF8.GetBytes(patch));

        Assert.Equal(expected, Text.Encode(document));
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("{")]
    public void JsonMergePatch_NoObject_Refuses(string patch) =>
        Assert.Equal("Invalid JSON Patch", Text.Refusal(() => JsonMergePatch.Apply(Text.Decode("{}"), Encoding.UTF8.GetBytes(patch))).Message);

    [Theory]
    [InlineData("""{"a":[1,3]}""", """[{"op":"add","path":"/a/1","value":2}]""", """{"a":[1,2,3]}""")]
    [InlineData("""{"a":[1]}""", """[{"op":"add","path":"/a/-","value":{"b":null}}]""", """{"a":[1,{"b":null}]}""")]
    [InlineData("""{"a":[1,2]}""", """[{"op":"add","path":"/a/-1","value":3},{"op":"remove","path":"/a/-3"}]""", """{"a":[2,3]}""")]
    [InlineData("""{"a":{"b/c~d":1}}""", """[{"op":"replace","path":"/a/b~1c~0d","value":"x"}]""", """{"a":{"b/c~d":"x"}}""")]
    [InlineData("""{"a":1,"b":{}}""", """[{"op":"move","from":"/a","path":"/b/c"}]""", """{"b":{"c":1}}""")]
    [InlineData("""{"a":{"x":[1]}}""", """[{"op":"copy","from":"/a","path":"/a/y"},{"op":"add","path":"/a/x/0","value":0}]""", """{"a":{"x":[0,1],"y":{"x":[1]}}}""")]
    [InlineData("""{"a":{"x":1,"y":2}}""", """[{"op":"test","path":"/a","value":{"y":2,"x":1}},{"op":"test","path":"/b","value":null},{"op":"remove","path":"/a/x"}]""", """{"a":{"y":2}}""")]
    [InlineData("""{"a":1}""", """[{"op":"replace","path":"/new","value":2}]""", """{"a":1,"new":2}""")]
    [InlineData("""{"a":1}""", """[{"op":"replace","path":"","value":{"b":2}}]""", """{"b":2}""")]
    public void JsonPatch_Operations_Apply(string target, string patch, string expected)
    {
        using var document = Text.Decode(target);
        JsonPatch.Apply(document, Encoding.UTF8.GetBytes(patch));

        Assert.Equal(expected, Text.Encode(document));
    }

    [Theory]
    [InlineData("""[{"op":"remove","path":"/missing"}]""")]
    [InlineData("""[{"op":"test","path":"/a","value":2}]""")]
    [InlineData("""[{"op":"add","path":"/a/b/c","value":2}]""")]
    [InlineData("""[{"op":"add","path":"/l/5","value":2}]""")]
    [InlineData("""[{"op":"dance","path":"/a"}]""")]
    [InlineData("""[{"op":"add","value":2}]""")]
    [InlineData("""[{"op":"copy","from":"/l/7","path":"/a"}]""")]
    public void JsonPatch_DoesNotApply_Refuses(string patch)
    {
        var status = Text.Refusal(() => JsonPatch.Apply(Text.Decode("""{"a":1,"l":[1]}"""), Encoding.UTF8.GetBytes(patch)));

        Assert.Equal((422, "Invalid", "the server rejected our request due to an error in our request"), (status.Code, status.Reason, status.Message));
    }

    [Fact]
    public void JsonPatch_TooManyOperations_Refuses()
    {
        var patch = "[" + string.Join(",", Enumerable.Repeat("""{"op":"test","path":"/b"}""", 10_001)) + "]";
        var status = Text.Refusal(() => JsonPatch.Apply(Text.Decode("{}"), Encoding.UTF8.GetBytes(patch)));

        Assert.Equal((413, "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"), (status.Code, status.Message));
    }

    [Theory]
    // Lists of objects merge by key: what the patch adds comes before the rest of the list, and nulls delete.
    [InlineData(
        """{"containers":[{"name":"a","image":"1","env":[{"name":"X","value":"1"}]},{"name":"b"}]}""",
        """{"containers":[{"name":"a","image":"2","env":[{"name":"Y","value":"2"}]},{"name":"c"}]}""",
        """{"containers":[{"name":"a","image":"2","env":[{"name":"Y","value":"2"},{"name":"X","value":"1"}],"resources":{}},{"name":"c","resources":{}},{"name":"b","resources":{}}]}""")]
    [InlineData("""{"containers":[{"name":"a"},{"name":"b"}]}""", """{"containers":[{"name":"a","$patch":"delete"}]}""", """{"containers":[{"name":"b","resources":{}}]}""")]
    [InlineData("""{"containers":[{"name":"a"},{"name":"b"}]}""", """{"containers":[{"$patch":"replace"},{"name":"c"}]}""", """{"containers":[{"name":"c","resources":{}}]}""")]
    [InlineData("""{"nodeName":"x","priority":1}""", """{"nodeName":null}""", """{"containers":null,"priority":1}""")]
    [InlineData("""{"nodeSelector":{"a":"1","b":"2"}}""", """{"nodeSelector":{"a":null,"c":"3"}}""", """{"containers":null,"nodeSelector":{"b":"2","c":"3"}}""")]
    [InlineData("""{"nodeSelector":{"a":"1"}}""", """{"nodeSelector":{"$patch":"replace","c":"3"}}""", """{"containers":null,"nodeSelector":{"c":"3"}}""")]
    [InlineData("""{"nodeSelector":{"a":"1"}}""", """{"nodeSelector":{"$patch":"delete"}}""", """{"containers":null}""")]
    // Volumes keep only the keys that $retainKeys names.
    [InlineData(
        """{"volumes":[{"name":"v","emptyDir":{}}]}""",
        """{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]}""",
        """{"volumes":[{"name":"v","hostPath":{"path":"/x"}}],"containers":null}""")]
    // $setElementOrder orders what it names; server-side elements keep their place among them.
    [InlineData(
        """{"containers":[{"name":"a"},{"name":"s"},{"name":"b"}]}""",
        """{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","image":"2"}]}""",
        """{"containers":[{"name":"s","resources":{}},{"name":"b","resources":{}},{"name":"a","image":"2","resources":{}}]}""")]
    [InlineData(
        """{"containers":[{"name":"a"},{"name":"b"}]}""",
        """{"$setElementOrder/containers":[{"name":"b"}],"containers":[{"name":"a","$patch":"delete"}]}""",
        """{"containers":[{"name":"b","resources":{}}]}""")]
    // Lists without a merge strategy are replaced.
    [InlineData("""{"tolerations":[{"key":"a"}]}""", """{"tolerations":[{"key":"b"}]}""", """{"containers":null,"tolerations":[{"key":"b"}]}""")]
    public void StrategicMergePatch_PodSpec_Merges(string target, string patch, string expected)
    {
        var type = Text.Type("core.v1.PodSpec");
        using var original = Text.Decode(target, type);
        using var patched = PatchBody.Apply(original, PatchKind.StrategicMerge, Encoding.UTF8.GetBytes(patch), type, null);

        Assert.Equal(expected, Text.Encode(patched, type));
    }

    [Theory]
    [InlineData("""{"finalizers":["a","b"]}""", """{"finalizers":["b","c"]}""", """{"finalizers":["a","b","c"]}""")]
    [InlineData("""{"finalizers":["a","b","c"]}""", """{"$deleteFromPrimitiveList/finalizers":["b"],"$setElementOrder/finalizers":["c","a"]}""", """{"finalizers":["c","a"]}""")]
    public void StrategicMergePatch_Scalars_Merge(string target, string patch, string expected)
    {
        var type = Text.Type("apimachinery.pkg.apis.meta.v1.ObjectMeta");
        using var original = Text.Decode(target, type);
        using var patched = PatchBody.Apply(original, PatchKind.StrategicMerge, Encoding.UTF8.GetBytes(patch), type, null);

        Assert.Equal(expected, Text.Encode(patched, type));
    }

    [Theory]
    [InlineData("""{"containers":[{"image":"x"}]}""", 500, "map: map[image:x] does not contain declared merge key: name")]
    [InlineData("""{"containers":[{"name":"a","$patch":"burn"}]}""", 500, "unknown patch type: burn in map: map[$patch:burn name:a]")]
    [InlineData("""{"$retainKeys":["a"],"nodeName":"x"}""", 400, "invalid patch format of retainKeys")]
    [InlineData("""{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a"},{"name":"b"}]}""", 500, "The order in patch list:\n[map[name:a] map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:b] map[name:a]]\n")]
    public void StrategicMergePatch_Wrong_RefusesInUpstreamsWords(string patch, int code, string words)
    {
        var type = Text.Type("core.v1.PodSpec");
        using var original = Text.Decode("""{"containers":[{"name":"a"},{"name":"b"}]}""", type);
        var status = Text.Refusal(() => PatchBody.Apply(original, PatchKind.StrategicMerge, Encoding.UTF8.GetBytes(patch), type, null));

        Assert.Equal((code, words), (status.Code, status.Message));
    }

    [Fact]
    public void PatchBody_WrongTypeAfterPatch_IsInvalid()
    {
        var type = Text.Type("core.v1.ConfigMap");
        using var original = Text.Decode("""{"metadata":{"name":"a"}}""", type);
        var status = Text.Refusal(() => PatchBody.Apply(original, PatchKind.Merge, """{"immutable":"yes"}"""u8, type, null));

        Assert.Equal(422, status.Code);
        Assert.Equal(
            " \"\" is invalid: patch: Invalid value: \"{\\\"immutable\\\":\\\"yes\\\",\\\"metadata\\\":{\\\"name\\\":\\\"a\\\"}}\": json: cannot unmarshal string into Go struct field ConfigMap.immutable of type bool",
            status.Message);
    }
}
