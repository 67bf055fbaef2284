using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer.Tests;

/// <summary>The texts are those of upstream's encoder.</summary>
public sealed class YamlTextTests
{
    [Theory]
    [InlineData("\"abc\"", "abc")]
    [InlineData("\"\"", "\"\"")]
    [InlineData("\"216\"", "\"216\"")]
    [InlineData("\"n\"", "\"n\"")]
    [InlineData("\"true\"", "\"true\"")]
    [InlineData("\"1e3\"", "\"1e3\"")]
    [InlineData("\"0x1F\"", "\"0x1F\"")]
    [InlineData("\"1.2.3\"", "1.2.3")]
    [InlineData("\"10.0.0.1\"", "10.0.0.1")]
    [InlineData("\"12:30\"", "\"12:30\"")]
    [InlineData("\"2026-11-25T19:59:10Z\"", "\"2026-11-25T19:59:10Z\"")]
    [InlineData("\"4746f106-b92b-4dac-ac11-c890da81c07f\"", "4746f106-b92b-4dac-ac11-c890da81c07f")]
    [InlineData("\"configmaps \\\"c9\\\" not found\"", "configmaps \"c9\" not found")]
    [InlineData("\"a: b\"", "'a: b'")]
    [InlineData("\"a #b\"", "'a #b'")]
    [InlineData("\"it's: so\"", "'it''s: so'")]
    [InlineData("\"*star\"", "'*star'")]
    [InlineData("\"- dash\"", "'- dash'")]
    [InlineData("\"-dash\"", "-dash")]
    [InlineData("\" edge\"", "' edge'")]
    [InlineData("\"tab\\there\"", "\"tab\\there\"")]
    [InlineData("\"bell\\u0007\"", "\"bell\\a\"")]
    [InlineData("\"ä€😀\"", "ä€😀")]
    [InlineData("\"a\\nb\"", "|-\n  a\n  b")]
    [InlineData("\"a\\nb\\n\"", "|\n  a\n  b")]
    [InlineData("\"a\\n\\n\"", "|+\n  a\n")]
    [InlineData("5", "5")]
    [InlineData("true", "true")]
    [InlineData("null", "null")]
    [InlineData("{}", "{}")]
    [InlineData("[]", "[]")]
    public void Value_OfAMember_TakesUpstreamsStyle(string json, string expected) => Assert.Equal($"k: {expected}\n", Yaml($"{{\"k\":{json}}}"));

    [Fact]
    public void Text_BeyondEightyColumns_IsFolded()
    {
        const string Text = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        Assert.Equal(
            "message: 'only the following media types are accepted: application/json;stream=watch,\n  application/vnd.kubernetes.protobuf;stream=watch'\n",
            Yaml($"{{\"message\":\"{Text}\"}}"));
    }

    [Fact]
    public void Tree_OfAnyShape_IsBlockStyleWithSortedKeys() => Assert.Equal(
        "a:\n- b: 1\n  c:\n  - d\n- - x\n  - - w\n    - z\nk10: 1\nk2: 1\n".Replace("k10: 1\nk2: 1\n", "k2: 1\nk10: 1\n", StringComparison.Ordinal),
        Yaml("""{"k10":1,"k2":1,"a":[{"c":["d"],"b":1},["x",["w","z"]]]}"""));

    [Theory]
    [InlineData("""{"a":[{"b":"x: y"},["p",{"q":"1"}]],"text":"one\ntwo\n\n  three","empty":"","n":"yes"}""")]
    public void Tree_WrittenAndRead_IsTheSame(string json)
    {
        using var read = YamlCodec.DecodeAll(Encoding.UTF8.GetBytes(Yaml(json))).Single();
        using var wanted = JsonCodec.Decode(Encoding.UTF8.GetBytes(json), null, DecodeOptions.Free, null);
        Assert.True(read.Root.DeepEquals(wanted.Root), Yaml(json));
    }

    private static string Yaml(string json)
    {
        using var document = JsonCodec.Decode(Encoding.UTF8.GetBytes(json), null, DecodeOptions.Free, null);
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        YamlText.Write(document.Root, output);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }
}
