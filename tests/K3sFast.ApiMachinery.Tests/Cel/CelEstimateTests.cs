using System.Globalization;

namespace K3sFast.ApiMachinery.Tests;

/// <summary>What expressions cost at worst by their estimates: upstream decides by these figures which rules may be written.</summary>
public sealed class CelEstimateTests
{
    private static readonly CelShape s_self = StructuralTypes.Of(JsonCodec.Decode("""
        {"type":"object","required":["name","ports","code"],"properties":{
        "name":{"type":"string"},"replicas":{"type":"integer"},"ratio":{"type":"number"},"on":{"type":"boolean"},
        "labels":{"type":"object","additionalProperties":{"type":"string"}},
        "ports":{"type":"array","items":{"type":"integer"}},
        "items":{"type":"array","items":{"type":"object","required":["k"],"properties":{"k":{"type":"string"},"v":{"type":"integer","default":1},"tags":{"type":"array","maxItems":5,"items":{"type":"string","maxLength":10}}}}},
        "code":{"type":"string","maxLength":20},"colour":{"type":"string","enum":["red","ultraviolet"]},
        "blob":{"type":"string","format":"byte","maxLength":100},"bytes":{"type":"string","format":"byte"},
        "wait":{"type":"string","format":"duration"},"day":{"type":"string","format":"date"},"since":{"type":"string","format":"date-time"},
        "few":{"type":"array","maxItems":4,"items":{"type":"string","maxLength":8}},
        "pairs":{"type":"object","maxProperties":3,"additionalProperties":{"type":"string","maxLength":6}},
        "deep":{"type":"array","maxItems":10,"items":{"type":"array","maxItems":7,"items":{"type":"object","properties":{"id":{"type":"string","maxLength":5},"n":{"type":"integer"}}}}},
        "port":{"x-kubernetes-int-or-string":true},"size":{"x-kubernetes-int-or-string":true,"maxLength":12},
        "namespace":{"type":"string","maxLength":63},"a-b":{"type":"string","maxLength":9},
        "res":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true},
        "times":{"type":"array","maxItems":6,"items":{"type":"string","format":"date-time"}},
        "nested":{"type":"object","properties":{"inner":{"type":"object","properties":{"text":{"type":"string","maxLength":30}}}}}
        }}
        """u8, null, DecodeOptions.Free, null).Root, "self", isResource: false)!;

    private static readonly CelEnvironment s_environment = CelEnvironment.Kubernetes.With("self", s_self.Type).With("oldSelf", s_self.Type);

    public static IEnumerable<TheoryDataRow<int, string, ulong>> Rules() => Rows("costs.expressions");

    public static IEnumerable<TheoryDataRow<int, string, ulong>> Selectors() => Rows("device-costs.expressions");

    [Theory]
    [MemberData(nameof(Rules))]
    public void Rule_OfTheTable_IsEstimatedAsUpstreamDoes(int line, string expression, ulong cost)
    {
        var compiled = s_environment.Compile(expression);
        Assert.True(compiled.Program is not null, $"line {line}: {compiled.Issues}");
        Assert.Equal((line, cost), (line, compiled.Program.WorstCase(s_self.SizeAt)));
    }

    [Theory]
    [MemberData(nameof(Selectors))]
    public void DeviceSelector_OfTheTable_IsEstimatedAsUpstreamDoes(int line, string expression, ulong cost)
    {
        var compiled = DeviceExpressions.Environment.Compile(expression);
        Assert.True(compiled.Program is not null, $"line {line}: {compiled.Issues}");
        Assert.Equal((line, cost), (line, DeviceExpressions.WorstCase(compiled.Program)));
    }

    [Theory]
    [InlineData(false, new[] { "x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of 4.6x" })]
    [InlineData(true, new string[0])]
    public void Rule_ThatCostsTooMuch_IsKeptWhenItIsStored(bool isStored, string[] expected)
    {
        var schema = JsonCodec.Decode(
            """{"type": "array", "maxItems": 1000, "items": {"type": "string", "maxLength": 100}, "x-kubernetes-validations": [{"rule": "self.all(x, self.exists(y, x == y))"}]}"""u8,
            null, DecodeOptions.Free, null).Root;
        var check = Check.Rent();
        CrdExpressions.Judge(check.Root, schema, isStored);
        Assert.Equal(expected, check.Finish().Select(static error => error.ToString().Split(" (try")[0]));
    }

    private static IEnumerable<TheoryDataRow<int, string, ulong>> Rows(string file)
    {
        int number = 0;
        foreach (string line in File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Cel", file)))
        {
            number++;
            if (line.Length > 0 && line[0] != '#')
                yield return (number, line[(line.IndexOf(' ') + 1)..], ulong.Parse(line[..line.IndexOf(' ')], CultureInfo.InvariantCulture));
        }
    }
}
