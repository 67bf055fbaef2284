using System.Text;

namespace K3sFast.ApiMachinery.Tests;

/// <summary>No text makes the compiler throw or run away; whatever compiles evaluates to a value within its budget.</summary>
public sealed class CelFuzzTests
{
    private static readonly string[] s_pieces =
    [
        "1", "0", "-1", "2u", "1.5", "\"a\"", "'b'", "b\"c\"", "true", "false", "null", "x", "y", "self", "self.a", "self.b[0]", "[", "]", "{", "}", "(", ")", ".", ",", ":", "?", "&&", "||", "!", "==", "!=",
        "<", "<=", ">", ">=", "+", "-", "*", "/", "%", " in ", ".?", "[?", ".map(x, ", ".filter(x, ", ".all(x, ", ".exists(x, ", ".exists_one(x, ", ".all(x, y, ", ".transformMap(x, y, ", ".optMap(x, ",
        ".sortBy(x, ", "has(self.a)", "size(", "dyn(", "int(", "string(", "type(", "optional.of(", ".orValue(", ".value()", ".size()", ".split(", ".matches(", ".format([", "])", "quantity(", "duration(", "timestamp(",
        "\"1s\"", "\"2023-01-01T00:00:00Z\"", ".flatten()", ".sum()", ".reverse()", "lists.range(5)", "9223372036854775807", "\n", "//", "`", "'", "\"", "\\", "é", "😀", "$",
    ];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Compile_OfAnyText_AnswersWithAProgramOrIssues(int seed)
    {
        var random = new Random(seed);
        using var document = JsonCodec.Decode("""{"a": {"b": 1}, "b": ["x", 2, null]}"""u8, null, DecodeOptions.Free, null);
        var variables = new Variables(CelJson.Of(document.Root));
        var environment = CelEnvironment.Kubernetes.With("self", CelType.Dyn);
        int ran = 0;
        for (int i = 0; i < 5000; i++)
        {
            var text = new StringBuilder();
            int count = random.Next(1, 14);
            for (int j = 0; j < count; j++)
                text.Append(s_pieces[random.Next(s_pieces.Length)]);
            string expression = text.ToString();
            var compiled = environment.Compile(expression);
            if (compiled.Program is null)
            {
                Assert.True(compiled.Problem!.Length > 20, $"seed {seed}: {expression}");
                continue;
            }
            ran++;
            var outcome = compiled.Program.Evaluate(variables);
            Assert.True(outcome.Cost >= 0, $"seed {seed}: {expression}");
            _ = outcome.Value.ToString();
        }
        Assert.True(ran > 50, $"only {ran} of the expressions of seed {seed} compiled");
    }

    [Theory]
    [InlineData("(")]
    [InlineData("[")]
    [InlineData("{1:")]
    [InlineData("-!")]
    [InlineData("a.b(")]
    [InlineData("1+")]
    [InlineData("a?b:")]
    [InlineData("x.")]
    [InlineData("x[0]")]
    [InlineData(".optMap(x,x)")]
    [InlineData("&&a")]
    public void Compile_OfARepeatedPiece_Ends(string piece)
    {
        var compiled = CelEnvironment.Kubernetes.With("a", CelType.Dyn).With("x", CelType.Dyn).Compile("a" + string.Concat(Enumerable.Repeat(piece, 90_000 / piece.Length)));
        Assert.True(compiled.Program is not null || compiled.Problem!.Length > 0);
    }

    [Fact]
    public void Compile_OfAChainThatDoublesItself_IsRefused()
    {
        var compiled = CelEnvironment.Kubernetes.With("a", CelType.Dyn).Compile("a" + string.Concat(Enumerable.Repeat(".optMap(x, x)", 60)));
        Assert.Contains("max recursion depth exceeded", compiled.Issues, StringComparison.Ordinal);
    }

    private sealed class Variables(CelValue self) : ICelVariables
    {
        public bool TryFind(string name, out CelValue value)
        {
            value = self;
            return name == "self";
        }
    }
}
