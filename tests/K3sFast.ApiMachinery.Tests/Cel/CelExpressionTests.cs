using System.Text;

namespace K3sFast.ApiMachinery.Tests;

/// <summary>The language: a table of expressions with their values, and one of those that do not compile with what is said of them.</summary>
public sealed class CelExpressionTests
{
    private static readonly ApiObject s_self = JsonCodec.Decode(Encoding.UTF8.GetBytes(
        """{"name": "web", "replicas": 3, "ratio": 0.5, "on": true, "none": null, "labels": {"app": "web", "tier": "front"}, "ports": [80, 443], "items": [{"k": "a", "v": 1}, {"k": "b", "v": 2}]}"""), null, DecodeOptions.Free, null);

    private static readonly CelType s_user = CelType.Object("test.User", new Dictionary<string, CelType> { ["name"] = CelType.String });

    private static readonly CelEnvironment s_environment = CelEnvironment.Kubernetes
        .With("self", CelType.Dyn)
        .With("request", CelType.Object("test.Request", new Dictionary<string, CelType> { ["user"] = s_user, ["groups"] = CelType.List(CelType.String), ["count"] = CelType.Int }));

    public static IEnumerable<TheoryDataRow<int, string, string>> Values() => Rows("values.expressions");

    public static IEnumerable<TheoryDataRow<int, string, string>> Problems() => Rows("problems.expressions");

    [Theory]
    [MemberData(nameof(Values))]
    public void Expression_OfTheTable_HasItsValue(int line, string expression, string expected)
    {
        var compiled = s_environment.Compile(expression);
        Assert.True(compiled.Program is not null, $"line {line}: {compiled.Issues}");
        var value = compiled.Program.Evaluate(new Self()).Value;
        if (expected.StartsWith("error: ", StringComparison.Ordinal))
        {
            Assert.Equal((line, expected), (line, value.IsError ? "error: " + value.AsString : "value: " + value));
            return;
        }
        var wanted = s_environment.Compile(expected).Program!.Evaluate(new Self()).Value;
        Assert.True(wanted.Kind == value.Kind && CelEquality.Equal(wanted, value).IsTrue, $"line {line}: {expression}\n  is  {value.Kind} {value}\n  not {wanted.Kind} {wanted}");
    }

    [Theory]
    [MemberData(nameof(Problems))]
    public void Expression_ThatIsWrong_IsRefusedInUpstreamsWords(int line, string expression, string expected)
    {
        var compiled = s_environment.Compile(expression.Replace("\\n", "\n", StringComparison.Ordinal));
        Assert.Null(compiled.Program);
        var said = compiled.Issues.Split('\n').Where(static text => text.StartsWith("ERROR: <input>:", StringComparison.Ordinal)).Select(static text => text["ERROR: <input>:".Length..]);
        Assert.Equal((line, expected), (line, compiled.Instantiation.Length > 0 ? compiled.Problem : string.Join(" || ", said)));
    }

    [Fact]
    public void Issue_OfSeveralLines_ShowsItsLineAndACaretBelow() =>
        Assert.Equal("ERROR: <input>:2:6: undeclared reference to 'nope' (in container '')\n | 'é'+ nope\n | .．...^", s_environment.Compile("'a' +\n'é'+ nope").Issues);

    [Fact]
    public void Expression_LongerThanTheBound_IsRefused() =>
        Assert.Equal("ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100001, limit 100000", s_environment.Compile(new string(' ', 100_001)).Issues);

    [Fact]
    public void Expression_DeeperThanTheBound_IsRefused() =>
        Assert.Contains("expression recursion limit exceeded: 250", s_environment.Compile(new string('(', 1000) + "1" + new string(')', 1000)).Issues, StringComparison.Ordinal);

    private static IEnumerable<TheoryDataRow<int, string, string>> Rows(string file)
    {
        string[] lines = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Cel", file));
        for (int i = 0; i < lines.Length; i++)
        {
            int split = lines[i].LastIndexOf(" => ", StringComparison.Ordinal);
            if (split > 0 && !lines[i].StartsWith('#'))
                yield return new TheoryDataRow<int, string, string>(i + 1, lines[i][..split], lines[i][(split + 4)..]) { TestDisplayName = $"{file}:{i + 1} {lines[i]}" };
        }
    }

    private sealed class Self : ICelVariables
    {
        public bool TryFind(string name, out CelValue value)
        {
            value = name == "self" ? CelJson.Of(s_self.Root) : default;
            return name == "self";
        }
    }
}
