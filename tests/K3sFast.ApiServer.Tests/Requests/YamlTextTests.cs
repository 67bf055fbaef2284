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
    [InlineData("\"ä€\"", "ä€")]
    [InlineData("\"ä€😀\"", "\"ä€\\U0001F600\"")]
    [InlineData("\"one\\ttab\\ntwo\\n\"", "\"one\\ttab\\ntwo\\n\"")]
    [InlineData("\"5\\n\"", "|\n  5")]
    [InlineData("\"x\\r\\ny\"", "\"x\\r\\ny\"")]
    [InlineData("\" lead\\nx\"", "|2-\n   lead\n  x")]
    [InlineData("\"\\n\"", "|2+\n")]
    [InlineData("\"\\n\\n\"", "|2+\n\n")]
    [InlineData("\"a \\nb\"", "\"a \\nb\"")]
    [InlineData("\"a\u2028b\"", "'a\u2028  b'")]
    [InlineData("\"a\u2028b\\nc\\u2029d\"", "|-\n  a\u2028  b\n  c\u2029  d")]
    [InlineData("\"\\ufeffbom\"", "\"\\uFEFF\\x62\\x6F\\x6D\"")]
    [InlineData("\"\u00a0\"", "\u00a0")]
    [InlineData("\"017\"", "\"017\"")]
    [InlineData("\"0o17\"", "\"0o17\"")]
    [InlineData("\"09\"", "\"09\"")]
    [InlineData("\"1_000\"", "\"1_000\"")]
    [InlineData("\"1__0\"", "\"1__0\"")]
    [InlineData("\"0x_1\"", "\"0x_1\"")]
    [InlineData("\"-0b11\"", "\"-0b11\"")]
    [InlineData("\"0b\"", "0b")]
    [InlineData("\"0x1p4\"", "0x1p4")]
    [InlineData("\".5\"", "\".5\"")]
    [InlineData("\"1.\"", "\"1.\"")]
    [InlineData("\".e1\"", ".e1")]
    [InlineData("\"1e400\"", "1e400")]
    [InlineData("\"0777777777777777777777777\"", "\"0777777777777777777777777\"")]
    [InlineData("\"0xFFFFFFFFFFFFFFFF\"", "\"0xFFFFFFFFFFFFFFFF\"")]
    [InlineData("\"0x1FFFFFFFFFFFFFFFF\"", "0x1FFFFFFFFFFFFFFFF")]
    [InlineData("\"1:2:3\"", "\"1:2:3\"")]
    [InlineData("\"2001-1-1\"", "\"2001-1-1\"")]
    [InlineData("\"2001-13-01\"", "2001-13-01")]
    [InlineData("\"2001-01-01 00:00:00\"", "\"2001-01-01 00:00:00\"")]
    [InlineData("\"2001-01-01t0:0:0z\"", "2001-01-01t0:0:0z")]
    [InlineData("\"<<\"", "<<")]
    [InlineData("\"=\"", "=")]
    [InlineData("\".Inf\"", "\".Inf\"")]
    [InlineData("\"+\"", "+")]
    [InlineData("\"-\"", "'-'")]
    [InlineData("\"?a\"", "?a")]
    [InlineData("\"?\"", "'?'")]
    [InlineData("\":\"", "':'")]
    [InlineData("\":a\"", ":a")]
    [InlineData("\"~a\"", "~a")]
    [InlineData("\"x#y\"", "x#y")]
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
    public void Text_QuotedAndFolded_KeepsItsQuotesAndBlanks()
    {
        var (single, twice) = (Repeat("it''s ", 13)[..^1], Repeat("it''s ", 14)[..^1]);
        Assert.Equal($"k: '{single}\n  {twice}\n  it''s : x'\n", Yaml($"{{\"k\":\"{Repeat("it's ", 28)}: x\"}}"));
        var (first, second) = (Repeat("\\tab  c ", 9), Repeat("\\tab  c ", 3));
        Assert.Equal($"k2: \"{first}\\tab\n  \\ c {second}\"\n", Yaml($"{{\"k2\":\"{Repeat("\\tab  c ", 13)}\"}}"));
    }

    [Fact]
    public void Tree_OfAnyShape_IsBlockStyleWithSortedKeys() => Assert.Equal(
        "a:\n- b: 1\n  c:\n  - d\n- - x\n  - - w\n    - z\nk2: 1\nk10: 1\n",
        Yaml("""{"k10":1,"k2":1,"a":[{"c":["d"],"b":1},["x",["w","z"]]]}"""));

    [Fact]
    public void Keys_OfAMap_StandByNumberAndLetter()
    {
        string[] sorted = ["-z", ".z", "_x", "1", "2", "10", "A1", "a-b", "a.b", "k0", "k00", "k1", "k01", "k9", "k10", "k19", "k100", "k\u00e9"];
        var shuffled = sorted.ToArray();
        new Random(1).Shuffle(shuffled);
        Assert.Equal(sorted, Yaml("{" + string.Join(',', shuffled.Select(static key => $"\"{key}\":[]")) + "}").Split('\n')[..^1].Select(static line => line.Trim('"')[..^4].Trim('"')));
    }

    [Fact]
    public void Keys_OfAnySort_ComeOut()
    {
        var random = new Random(7);
        for (var round = 0; round < 200; round++)
        {
            var keys = Enumerable.Range(0, random.Next(1, 60)).Select(_ => string.Concat(Enumerable.Range(0, random.Next(1, 24)).Select(_ => "0019-a\u00e9\u0661"[random.Next(8)]))).Distinct().ToList();
            using var read = YamlCodec.DecodeAll(Encoding.UTF8.GetBytes(Yaml("{" + string.Join(',', keys.Select(static key => $"\"{key}\":\"\"")) + "}"))).Single();
            Assert.Equal(keys.Order(StringComparer.Ordinal), Names(read.Root).Order(StringComparer.Ordinal));
        }
    }

    [Fact]
    public void Key_TooLongOrOfSeveralLines_IsMarked()
    {
        var key = new string('k', 129);
        Assert.Equal($"{key[1..]}: v\n", Yaml($"{{\"{key[1..]}\":\"v\"}}"));
        Assert.Equal($"? {key}\n: v\n", Yaml($"{{\"{key}\":\"v\"}}"));
        Assert.Equal("? |\n  nl\n  key: 2\n: |-\n  line\n  two\n", Yaml("""{"nl\nkey: 2\n":"line\ntwo"}"""));
        Assert.Equal("? 'ls\u2028  k'\n: \"3\"\n", Yaml("{\"ls\u2028k\":\"3\"}"));
        Assert.Equal(
            $"x:\n  ? {key}\n  : a: 1\n    b:\n      ? {key}\n      : z:\n        - 1\n  ? {key}2\n  : - x\n    - q: 1\n  ? {key}3\n  : []\n",
            Yaml($$"""{"x":{"{{key}}":{"a":1,"b":{"{{key}}":{"z":[1]} } },"{{key}}2":["x",{"q":1}],"{{key}}3":[]} }"""));
    }

    [Fact]
    public void Write_OfAPod_AllocatesNothing()
    {
        using var pod = JsonCodec.Decode(
            """{"metadata":{"name":"p","labels":{"b":"1","a":"true"},"annotations":{"text":"one\ntwo","quoted":"a: b"}},"spec":{"containers":[{"name":"c","args":["-x","0x10"],"ports":[{"containerPort":80}]}]},"status":{"startTime":"2026-01-01T00:00:00Z","podIP":"10.0.0.1"}}"""u8,
            null, DecodeOptions.Free, null);
        var output = new System.Buffers.ArrayBufferWriter<byte>(64 * 1024);
        for (var i = 0; i < 10; i++)
        {
            YamlText.Write(pod.Root, output);
            output.ResetWrittenCount();
        }
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            YamlText.Write(pod.Root, output);
            output.ResetWrittenCount();
        }
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Theory]
    [InlineData("""{"a":[{"b":"x: y"},["p",{"q":"1"}]],"text":"one\ntwo\n\n  three","empty":"","n":"yes"}""")]
    public void Tree_WrittenAndRead_IsTheSame(string json)
    {
        using var read = YamlCodec.DecodeAll(Encoding.UTF8.GetBytes(Yaml(json))).Single();
        using var wanted = JsonCodec.Decode(Encoding.UTF8.GetBytes(json), null, DecodeOptions.Free, null);
        Assert.True(read.Root.DeepEquals(wanted.Root), Yaml(json));
    }

    private static string Repeat(string text, int times) => string.Concat(Enumerable.Repeat(text, times));

    private static List<string> Names(ApiNode map)
    {
        var names = new List<string>();
        foreach (var member in map.Members)
            names.Add(Encoding.UTF8.GetString(member.Name));
        return names;
    }

    private static string Yaml(string json)
    {
        using var document = JsonCodec.Decode(Encoding.UTF8.GetBytes(json), null, DecodeOptions.Free, null);
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        YamlText.Write(document.Root, output);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }
}
