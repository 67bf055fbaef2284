using System.Text;

namespace K3sFast.ApiMachinery.Tests;

public sealed class LabelSelectorTests
{
    private const string Labels = """{"app":"web","tier":"front","weight":"7","odd":"a\u0062\n","empty":""}""";

    [Theory]
    [InlineData("", true)]
    [InlineData("app=web", true)]
    [InlineData("app==web", true)]
    [InlineData("app=db", false)]
    [InlineData("app!=db", true)]
    [InlineData("missing!=db", true)]
    [InlineData("app!=web", false)]
    [InlineData("app in (db, web)", true)]
    [InlineData("app in (db)", false)]
    [InlineData("missing in (db)", false)]
    [InlineData("app notin (db)", true)]
    [InlineData("missing notin (db)", true)]
    [InlineData("app notin (web)", false)]
    [InlineData("app", true)]
    [InlineData("missing", false)]
    [InlineData("!missing", true)]
    [InlineData("!app", false)]
    [InlineData("weight>6", true)]
    [InlineData("weight<7", false)]
    [InlineData("app>6", false)]
    [InlineData("empty=", true)]
    [InlineData("empty in ()", true)]
    [InlineData("empty in (,x)", true)]
    [InlineData(" app = web , tier != back ,!missing", true)]
    [InlineData("app=web,tier=back", false)]
    [InlineData("in in (in)", false)]
    public void Matches_Labels_AsUpstream(string text, bool expected)
    {
        var selector = LabelSelector.Parse(text);
        using var document = Text.Decode(Labels);
        var dictionary = new Dictionary<string, string> { ["app"] = "web", ["tier"] = "front", ["weight"] = "7", ["empty"] = "" };

        Assert.Equal(expected, selector.Matches(Encoding.UTF8.GetBytes(Labels)));
        Assert.Equal(expected, selector.Matches(document.Root));
        Assert.Equal(expected, selector.Matches(dictionary));
        Assert.Equal(expected, LabelSelector.Parse(selector.ToString()).Matches(document.Root));
    }

    [Fact]
    public void Matches_EscapedValue_ComparesDecoded()
    {
        var selector = LabelSelector.FromRequirements(new LabelRequirement("odd", LabelOperator.Equals, "ab\n"));

        Assert.True(selector.Matches(Encoding.UTF8.GetBytes(Labels)));
        Assert.False(selector.Matches("{\"odd\":\"ab\\t\"}"u8));
        Assert.True(LabelSelector.FromRequirements(new LabelRequirement("k", LabelOperator.Equals, "<😀>")).Matches("""{"k":"\u003c\ud83d\ude00\u003e"}"""u8));
    }

    [Theory]
    [InlineData("app=web,,tier=x", "found ',', expected: identifier after ','")]
    [InlineData(",", "found ',', expected: !, identifier, or 'end of string'")]
    [InlineData("app web", "unable to parse requirement: found 'web', expected: in, notin, =, ==, !=, gt, lt")]
    [InlineData("app in web", "unable to parse requirement: found 'web' expected: '('")]
    [InlineData("app in (web", "unable to parse requirement: found '', expected: ',' or ')'")]
    [InlineData("app=web tier=x", "found 'tier', expected: ',' or 'end of string'")]
    [InlineData("!", "unable to parse requirement: found '', expected: identifier")]
    [InlineData("a>b", "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer")]
    [InlineData("a=-", "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')")]
    public void Parse_Wrong_RefusesInUpstreamsWords(string text, string words)
    {
        var status = Text.Refusal(() => LabelSelector.Parse(text));

        Assert.Equal((400, words), (status.Code, status.Message));
    }

    [Fact]
    public void FromNode_AbsentAndEmpty_MatchNothingAndEverything()
    {
        using var document = Text.Decode("""{"empty":{},"some":{"matchLabels":{"app":"web"},"matchExpressions":[{"key":"tier","operator":"NotIn","values":["back"]}]}}""");

        Assert.False(LabelSelector.FromNode(document.Root["absent"u8]).Matches(Encoding.UTF8.GetBytes(Labels)));
        Assert.True(LabelSelector.FromNode(document.Root["empty"u8]).IsEverything);
        Assert.True(LabelSelector.FromNode(document.Root["some"u8]).Matches(Encoding.UTF8.GetBytes(Labels)));
    }

    [Fact]
    public void Matches_JsonSpan_AllocatesNothing()
    {
        var selector = LabelSelector.Parse("app in (db,web),tier!=back,!missing,weight>1");
        var labels = Encoding.UTF8.GetBytes(Labels);
        for (var i = 0; i < 100; i++)
            Assert.True(selector.Matches(labels));
        var matched = true;
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            matched &= selector.Matches(labels);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.True(matched);
    }
}
