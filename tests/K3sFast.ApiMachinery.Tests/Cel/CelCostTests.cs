namespace K3sFast.ApiMachinery.Tests;

/// <summary>What evaluation costs, and that it ends when the budget is gone.</summary>
public sealed class CelCostTests
{
    [Theory]
    [InlineData("1", 0)]
    [InlineData("1 + 2", 1)]
    [InlineData("self", 1)]
    [InlineData("self.a", 2)]
    [InlineData("self.a.b", 3)]
    [InlineData("has(self.a)", 1)]
    [InlineData("has(self.a.b)", 2)]
    [InlineData("[1, 2]", 10)]
    [InlineData("{1: 2}", 30)]
    [InlineData("size('abc')", 1)]
    [InlineData("'abc' + 'def'", 1)]
    [InlineData("'abcdefghijkl'.startsWith('abc')", 2)]
    [InlineData("'abcdefghijkl'.contains('abc')", 2)]
    [InlineData("'abc'.matches('a+')", 1)]
    [InlineData("'abc' == 'abc'", 1)]
    [InlineData("1 in [1, 2, 3]", 13)]
    [InlineData("true && false", 0)]
    [InlineData("true ? 1 + 1 : 2", 1)]
    [InlineData("quantity('1Gi').isLessThan(quantity('2Gi'))", 3)]
    [InlineData("[1, 2, 3].all(x, x > 0)", 26)]
    public void Evaluation_OfAnExpression_CostsWhatUpstreamCounts(string expression, long cost) =>
        Assert.Equal(cost, Compile(expression).Evaluate(new Variables()).Cost);

    [Fact]
    public void Evaluation_BeyondItsLimit_EndsWithAnError()
    {
        var outcome = Compile("lists.range(1000).all(a, lists.range(1000).all(b, a + b >= 0))").Evaluate(new Variables());
        Assert.Equal("operation cancelled: actual cost limit exceeded", outcome.Value.AsString);
        Assert.True(outcome.Cost > CelLimits.PerCall);
    }

    [Fact]
    public void Evaluation_BeyondItsLimitUnderAnOr_EndsAllTheSame() =>
        Assert.True(Compile("lists.range(1000).all(a, lists.range(1000).all(b, a + b >= 0)) || true").Evaluate(new Variables()).Value.IsError);

    private static CelProgram Compile(string expression)
    {
        var compiled = CelEnvironment.Kubernetes.With("self", CelType.Dyn).Compile(expression);
        Assert.True(compiled.Program is not null, compiled.Problem);
        return compiled.Program;
    }

    private sealed class Variables : ICelVariables
    {
        private readonly ApiObject _self = JsonCodec.Decode("""{"a": {"b": 1}}"""u8, null, DecodeOptions.Free, null);

        public bool TryFind(string name, out CelValue value)
        {
            value = CelJson.Of(_self.Root);
            return name == "self";
        }
    }
}
