using System.Text;
using System.Text.Json.Nodes;

namespace K3sFast.ApiMachinery.Tests;

public sealed class JsonCursorTests
{
    [Theory]
    [InlineData("{}", true)]
    [InlineData("[]", true)]
    [InlineData("[[],{},[{}]]", true)]
    [InlineData("""{"a":"}","b":["{","\"]","\\"],"c":"\\\"}"}""", true)]
    [InlineData("""{"a":1.5,"b":null,"c":[true,false,-3e9]}""", true)]
    [InlineData("""{"a":"\u003c\u0026\u2028\u001f\n\b"}""", true)]
    [InlineData("""{"a":"– 日本"}""", true)]
    [InlineData("""{"a": 1}""", false)]
    [InlineData("{\"a\":1,\n\"b\":2}", false)]
    [InlineData("""{"a":"<"}""", false)]
    [InlineData("""{"a":">"}""", false)]
    [InlineData("""{"a":"&"}""", false)]
    [InlineData("""{"a":"\u003C"}""", false)]
    [InlineData("""{"a":"\u0041"}""", false)]
    [InlineData("""{"a":"\u000a"}""", false)]
    [InlineData("""{"a":"\/"}""", false)]
    [InlineData("{\"a\":\"\u2028\"}", false)]
    public void TryTakeRaw_Value_IsTakenIfItIsWrittenSo(string value, bool isWritten)
    {
        // At every place in the blocks that are looked at together, with what must not matter behind it.
        for (var before = 0; before < 70; before++)
        {
            var json = Encoding.UTF8.GetBytes(new string('1', before) + value + ",\"<\\/ ]}\n\":1}" + new string(' ', before * 3 % 130));
            var cursor = new JsonCursor(json) { Position = before };
            Assert.Equal(isWritten, cursor.TryTakeRaw(out var raw));
            Assert.Equal(isWritten ? value : "", Encoding.UTF8.GetString(raw));
            cursor = new JsonCursor(json) { Position = before };
            Assert.True(cursor.TrySkip());
            Assert.Equal(before + Encoding.UTF8.GetByteCount(value), cursor.Position);
        }
    }

    [Fact]
    public void TrySkip_AnyValue_EndsWhereItEnds()
    {
        var random = new Random(20260303);
        for (var i = 0; i < 3000; i++)
        {
            var value = Value(random, 0)?.ToJsonString() ?? "null";
            var json = Encoding.UTF8.GetBytes(value + ",\"}]\"");
            var cursor = new JsonCursor(json);
            Assert.True(cursor.TrySkip(), value);
            Assert.Equal(json.Length - 5, cursor.Position);
            for (var length = 0; length < Math.Min(json.Length - 5, 200); length++)
            {
                cursor = new JsonCursor(json.AsSpan(0, length));
                if (cursor.TrySkip())
                    Assert.True(value[0] is not ('{' or '[' or '"'), value);
            }
        }
    }

    [Theory]
    [InlineData("""{"kind":"A","metadata":{"name":"x"},"spec":1}""", """{"name":"x"}""")]
    [InlineData("""{"metadata":[1,2]}""", "[1,2]")]
    [InlineData("""{"kind":"A"}""", null)]
    [InlineData("""{}""", null)]
    [InlineData("""{"kind":"A", "metadata":{}}""", null)]
    [InlineData("""{"metadata":{""", null)]
    [InlineData("", null)]
    public void TryFind_Member_AnswersItsText(string json, string? expected)
    {
        var isFound = JsonCursor.TryFind(Encoding.UTF8.GetBytes(json), "metadata"u8, out var value);
        Assert.Equal(expected, isFound ? Encoding.UTF8.GetString(value) : null);
    }

    private static JsonNode? Value(Random random, int depth) => random.Next(depth > 4 ? 4 : 7) switch
    {
        0 => random.Next(100000),
        1 => new string([.. Enumerable.Range(0, random.Next(40)).Select(_ => "ab\"\\{}[]:, \n\té–"[random.Next(15)])]),
        2 => random.Next(2) == 0,
        3 => null,
        4 => new JsonArray([.. Enumerable.Range(0, random.Next(5)).Select(_ => Value(random, depth + 1))]),
        _ => new JsonObject(Enumerable.Range(0, random.Next(5)).Select(i => KeyValuePair.Create($"k{i}\"\\{random.Next(9)}", Value(random, depth + 1)))),
    };
}
