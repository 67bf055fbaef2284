using System.Text;
using K3sFast.WatchCache.Json;
using K3sFast.WatchCache.Memory;

namespace K3sFast.WatchCache.Tests;

[Collection(nameof(AloneCollection))]
public sealed class StoredObjectTests
{
    [Theory]
    // Behind the last of name, generateName, namespace, selfLink, uid.
    [InlineData("""{"metadata":{"name":"a","uid":"u","generation":1}}""", """{"metadata":{"name":"a","uid":"u","resourceVersion":"7","generation":1}}""")]
    [InlineData("""{"metadata":{"name":"a","namespace":"n"}}""", """{"metadata":{"name":"a","namespace":"n","resourceVersion":"7"}}""")]
    [InlineData("""{"metadata":{"generateName":"a-","labels":{"uid":"x"}}}""", """{"metadata":{"generateName":"a-","resourceVersion":"7","labels":{"uid":"x"}}}""")]
    // First, where nothing comes before it.
    [InlineData("""{"metadata":{}}""", """{"metadata":{"resourceVersion":"7"}}""")]
    [InlineData("""{"metadata":{"labels":{}}}""", """{"metadata":{"resourceVersion":"7","labels":{}}}""")]
    // In place of one that is there.
    [InlineData("""{"metadata":{"name":"a","resourceVersion":"123","labels":{}}}""", """{"metadata":{"name":"a","resourceVersion":"7","labels":{}}}""")]
    [InlineData("""{"metadata":{"resourceVersion":"","name":"a"}}""", """{"metadata":{"resourceVersion":"7","name":"a"}}""")]
    [InlineData("""{"metadata":{"name":"a","labels":{},"resourceVersion":"1"}}""", """{"metadata":{"name":"a","labels":{},"resourceVersion":"7"}}""")]
    // Spaces are no trouble; only the object's own metadata counts; none is none.
    [InlineData("""{ "spec" : {"metadata":{"name":"x"}} , "metadata" : { "name" : "a" , "labels" : null } }""", """{ "spec" : {"metadata":{"name":"x"}} , "metadata" : { "name" : "a" , "resourceVersion":"7","labels" : null } }""")]
    [InlineData("""{"health":"true"}""", """{"health":"true"}""")]
    public void Create_PutsTheRevisionWhereItBelongs(string json, string expected)
    {
        using var item = Make(json);
        Assert.Equal(expected, item.Json.Text());
        Assert.Equal($$"""{"type":"MODIFIED","object":{{expected}}}""" + "\n", item.Frame.Text());
        Assert.Equal($"{expected}}}\n", item.FrameEnd.Text());
    }

    [Theory]
    // Blocks around 65535 bytes, where the places of fields outgrow their short form, and beyond.
    [InlineData(0)]
    [InlineData(64_800)]
    [InlineData(64_950)]
    [InlineData(65_000)]
    [InlineData(65_050)]
    [InlineData(65_100)]
    [InlineData(65_200)]
    [InlineData(65_540)]
    [InlineData(200_000)]
    public void Create_NotesIdentityLabelsAndFields(int before)
    {
        using var item = Make(
            $$"""{"first":"{{new string('x', before)}}",""" + """ "metadata":{"name":"a","namespace":"n","uid":"u-1","labels":{"a":"{\"}"},"annotations":{"x":"]}"}},"spec":{"nodeName":"n\"1\u00e9","hostNetwork":true,"replicas":3,"list":[{"nodeName":"no"}],"none":null},"status":{"phase":"Running"}}""",
            ["metadata.name", "spec.nodeName", "spec.hostNetwork", "spec.replicas", "status.phase", "status.podIP", "spec.none", "spec.list", "metadata.labels.a"]);
        Assert.Equal(("a", "n", "u-1"), (item.NameUtf8.Text(), item.NamespaceUtf8.Text(), item.UidUtf8.Text()));
        Assert.Equal("""{"a":"{\"}"}""", item.LabelsJson.Text());
        Assert.Equal(["a", "n\"1é", "true", "3", "Running", "", "", "", "{\"}"], Enumerable.Range(0, 9).Select(i => item.Field(i).Text()));
        Assert.Equal("", item.Field(9).Text());
        Assert.Equal(("/registry/x/n/a", 7L, 3L), (item.Key, item.Revision, item.CreateRevision));
    }

    /// <summary>Names of every length around what is looked at in one step, escaped ones, and spaces in every place read the same.</summary>
    [Fact]
    public void Create_HoweverTheJsonIsWritten_NotesTheSame()
    {
        for (int length = 1; length < 40; length++)
        {
            string other = new('o', length), escaped = new string('e', length) + "\\\"\\\\";
            string compact = $$$"""{"{{{other}}}":{"metadata":{"name":"no"}},"metadata":{"name":"a","{{{other}}}":{"name":"no"},"{{{escaped}}}":["name"],"uid":"u","{{{other}}}2":3},"spec":{"{{{escaped}}}":1,"nodeName":"n1"}}""";
            foreach (string json in (string[])[compact, compact.Replace(":", " : ", StringComparison.Ordinal), compact.Replace(",", ",\n ", StringComparison.Ordinal), compact.Replace("{", "{ ", StringComparison.Ordinal)])
            {
                using var item = Make(json, ["metadata.name", "spec.nodeName"]);
                Assert.Equal(("a", "u", "a", "n1"), (item.NameUtf8.Text(), item.UidUtf8.Text(), item.Field(0).Text(), item.Field(1).Text()));
            }
        }
    }

    /// <summary>Wherever a text is cut off, it is refused: nothing is read behind its end.</summary>
    [Fact]
    public void Create_CutOffAnywhere_Throws()
    {
        string json = """{"metadata":{"name":"a","namespace":"n","creationTimestamp":"t","labels":{"app":"web"}},"spec":{"nodeName":"n1","x":[1,{"y":"z"}]}}""";
        Make(json, ["spec.nodeName"]).Dispose();
        for (int length = 0; length < json.Length; length++) Assert.Throws<FormatException>(() => Make(json[..length], ["spec.nodeName"]));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("""{"metadata":{"name":"a""")]
    [InlineData("""{"metadata":{"name":"a"}""")]
    [InlineData("""{"metadata":{"name" "a"}}""")]
    [InlineData("""{"metadata":{"name":"a\""")]
    [InlineData("""{"a":[1,2}""")]
    public void Create_BrokenJson_Throws(string json) => Assert.Throws<FormatException>(() => Make(json));

    [Fact]
    public void Release_Last_FreesTheBytesAndRefusesUse()
    {
        var item = Make("""{"metadata":{"name":"a"}}""");
        item.Retain();
        item.Release();
        Assert.Equal("a", item.NameUtf8.Text());
        item.Release();
        Assert.Throws<ObjectDisposedException>(() => item.Json.Length);
        Assert.Throws<Datastore.InvariantException>(item.Retain);
    }

    [Fact]
    public void Decode_ManyUsers_DecodeOnce()
    {
        using var item = Make("""{"metadata":{"name":"a"}}""");
        int decoded = 0;
        var results = new string[8];
        Parallel.For(0, 8, i => results[i] = item.Decode(json =>
        {
            Interlocked.Increment(ref decoded);
            return json.Text();
        }));
        Assert.Equal(1, decoded);
        Assert.All(results, result => Assert.Same(results[0], result));
    }

    /// <summary>The goal: at most the encoded bytes by 1.25 and 128 bytes. Managed part: the object and its place in a chunk.</summary>
    [Theory]
    [InlineData(200)]
    [InlineData(600)]
    [InlineData(3000)]
    [InlineData(40_000)]
    public void Size_PerObject_IsWithinTheGoal(int padding)
    {
        string json = $$$"""{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-7f9c6bdc4-x2x8p","namespace":"default","uid":"0e7e8f0a-5b0c-4f7a-9a57-0f3d5a1e8b11","labels":{"app":"web"}},"spec":{"nodeName":"node-1","pad":"{{{new string('x', padding)}}}"},"status":{"phase":"Running"}}""";
        string[] fields = ["metadata.name", "metadata.namespace", "spec.nodeName", "status.phase"];
        var items = new List<StoredObject>(1000);
        for (int i = 0; i < 1000; i++) items.Add(Make(json, fields));
        long native = items.Sum(static item => (long)item.SizeBytes) / 1000;
        // Object of 16 + 24 bytes, a reference in a chunk that is at least half full.
        const int Managed = 40 + 16;
        Assert.True(native + Managed <= (json.Length * 1.25) + 128, $"{native} + {Managed} bytes for an object of {json.Length}");
        foreach (var item in items) item.Release();
    }

    private static StoredObject Make(string json, params string[] fields) =>
        StoredObjectWriter.Create("/registry/x/n/a"u8, Encoding.UTF8.GetBytes(json), 7, 3, WatchEventType.Modified, new FieldPaths(fields));
}
