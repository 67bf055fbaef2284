using System.Text;

namespace K3sFast.ApiMachinery.Tests;

public sealed class YamlCodecTests
{
    private static string ToJson(string yaml)
    {
        var documents = YamlCodec.DecodeAll(Encoding.UTF8.GetBytes(yaml)).ToList();
        var json = string.Join("\n", documents.Select(document => document.Root.ToString()));
        documents.ForEach(document => document.Dispose());
        return json;
    }

    [Theory]
    [InlineData("a: yes\nb: Off\nc: y\nd: \"no\"\ne: 'true'\nf: TRUE", """{"a":true,"b":false,"c":true,"d":"no","e":"true","f":true}""")]
    [InlineData("a: 1\nb: -07\nc: 0x1F\nd: 0o17\ne: 0b101\nf: 1_000\ng: +5\nh: 08\ni: 18446744073709551615\nj: 0644", """{"a":1,"b":-7,"c":31,"d":15,"e":5,"f":1000,"g":5,"h":8,"i":18446744073709551615,"j":420}""")]
    [InlineData("a: 1.50\nb: .5\nc: 1e3\nd: 1.\ne: 1e30\nf: 1.2.3\ng: 12:30\nh: 1e", """{"a":1.5,"b":0.5,"c":1000,"d":1,"e":1e+30,"f":"1.2.3","g":"12:30","h":"1e"}""")]
    [InlineData("a: 0.5\nb: -0.25\nc: 0e1\nd: 0.", """{"a":0.5,"b":-0.25,"c":0,"d":0}""")]
    [InlineData("a:\nb: ~\nc: null\nd: ''\ne: nil", """{"a":null,"b":null,"c":null,"d":"","e":"nil"}""")]
    [InlineData("a: 2026-03-01\nb: 2026-03-01T10:20:30Z", """{"a":"2026-03-01","b":"2026-03-01T10:20:30Z"}""")]
    [InlineData("a: |\n  x\n  y\nb: >-\n  x\n  y\nc: |-\n  1", """{"a":"x\ny\n","b":"x y","c":"1"}""")]
    [InlineData("1: a\ntrue: b\n2.5: c", """{"1":"a","true":"b","2.5":"c"}""")]
    [InlineData("- &x {a: 1}\n- *x\n- {<<: *x, b: 2}\n- {<<: *x, a: 3}", """[{"a":1},{"a":1},{"a":1,"b":2},{"a":3}]""")]
    [InlineData("a: 1\n---\n---\n# nothing\n---\nb: 2\n...\n", "{\"a\":1}\n{\"b\":2}")]
    [InlineData("""{"a":[1,"b",{"c":null}]}""", """{"a":[1,"b",{"c":null}]}""")]
    [InlineData("a: !!str 5\nb: !!int \"7\"", """{"a":"5","b":7}""")]
    [InlineData("", "")]
    public void DecodeAll_Yaml_IsKubernetesJson(string yaml, string expected) => Assert.Equal(expected, ToJson(yaml));

    [Fact]
    public void DecodeAll_DuplicateKey_Refuses() => Assert.Equal(
        "error converting YAML to JSON: yaml: unmarshal errors:\n  line 2: key \"a\" already set in map", Text.Refusal(() => ToJson("a: 1\na: 2")).Message);

    [Fact]
    public void DecodeAll_AliasBomb_Refuses()
    {
        var yaml = new StringBuilder("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for (var i = 1; i < 10; i++)
            yaml.Append($"a{i}: &a{i} [{string.Join(",", Enumerable.Repeat($"*a{i - 1}", 10))}]\n");

        Assert.Contains("document contains excessive aliasing", Text.Refusal(() => ToJson(yaml.ToString())).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a: [")]
    [InlineData("a: b: c")]
    [InlineData("a: *unknown")]
    [InlineData("a: .inf")]
    public void DecodeAll_Wrong_IsABadRequest(string yaml)
    {
        var status = Text.Refusal(() => ToJson(yaml));

        Assert.Equal(400, status.Code);
        Assert.StartsWith("error converting YAML to JSON: ", status.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Decode_Typed_ReportsStrictErrors()
    {
        var strictErrors = new List<string>();
        using var document = YamlCodec.Decode("spec:\n  nodeName: a\n  foo: 1\n  nodeName: b\n"u8, Text.Type("core.v1.Pod"), DecodeOptions.Default, strictErrors);

        Assert.Equal("b", document.Root["spec"u8]["nodeName"u8].AsString());
        Assert.Equal(["yaml: unmarshal errors:\n  line 4: key \"nodeName\" already set in map", "unknown field \"spec.foo\""], strictErrors);
    }
}
