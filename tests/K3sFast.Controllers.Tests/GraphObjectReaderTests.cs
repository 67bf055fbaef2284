using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers.Tests;

/// <summary>What the ownership graph reads of an object is what who decodes all of it finds there.</summary>
public sealed class GraphObjectReaderTests
{
    private static readonly string[] s_texts = ["", "a", "metadata", "name", "\"}],", "\\", "日本", "😀", "<&>", "a\nb", "ownerReferences"];

    [Fact]
    public void Read_OfAnyObject_IsWhatTheWholeObjectSays()
    {
        for (var seed = 1; seed <= 3000; seed++)
        {
            var json = new Maker(new Random(seed)).Object().ToJsonString(seed % 2 == 0 ? JsonSerializerOptions.Default : new JsonSerializerOptions { WriteIndented = true });
            var bytes = Encoding.UTF8.GetBytes(json);
            var read = JsonSerializer.Deserialize(bytes, GraphJsonContext.Default.GraphObject)!.Metadata;
            var whole = JsonSerializer.Deserialize(bytes, Resources.ConfigMaps.Type)!;
            whole.Metadata ??= new V1ObjectMeta();
            var wanted = GraphObject.Of(whole).Metadata;
            Assert.True(Shown(wanted) == Shown(read), $"seed {seed}:\n{Shown(wanted)}\n{Shown(read)}\n{json}");
        }
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("{\"metadata\":[]}")]
    [InlineData("{\"metadata\":{\"uid\":1}}")]
    [InlineData("{\"metadata\":{\"finalizers\":{}}}")]
    [InlineData("{\"metadata\":{\"finalizers\":[1]}}")]
    [InlineData("{\"metadata\":{\"ownerReferences\":[null]}}")]
    [InlineData("{\"metadata\":{\"ownerReferences\":[{\"controller\":\"true\"}]}}")]
    [InlineData("{\"metadata\":{\"uid\":\"\\ud800\"}}")]
    [InlineData("{\"metadata\":{\"uid\":\"a\"}")]
    public void Read_OfWhatIsNoObject_IsRefusedAsJson(string json) =>
        Assert.ThrowsAny<JsonException>(() => JsonSerializer.Deserialize(json, GraphJsonContext.Default.GraphObject));

    private static string Shown(GraphMetadata value) => string.Join(
        '|', value.Name ?? "", value.Namespace, value.Uid ?? "", value.ResourceVersion ?? "", value.IsBeingDeleted, value.DeletesDependents, value.OrphansDependents,
        string.Join(',', value.Finalizers ?? []), string.Join(',', (value.OwnerReferences ?? []).Select(Shown)));

    private static string Shown(V1OwnerReference owner) => $"{owner.ApiVersion}/{owner.Kind}/{owner.Name}/{owner.Uid}/{owner.Controller}/{owner.BlockOwnerDeletion}";

    /// <summary>Objects whose members come in any order, with others of the same names where they mean nothing.</summary>
    private sealed class Maker(Random random)
    {
        internal JsonObject Object() => Members(
            ("kind", () => "ConfigMap"), ("apiVersion", () => "v1"), ("metadata", Metadata), ("data", () => Members(("metadata", Text), ("name", Text), ("ownerReferences", Text))), ("immutable", () => true));

        private JsonNode? Metadata() => random.Next(12) == 0 ? null : Members(
            ("name", Text), ("namespace", Text), ("uid", Text), ("resourceVersion", Text), ("generation", () => random.Next(9)), ("labels", () => Members(("uid", Text), ("finalizers", Text))),
            ("deletionTimestamp", () => random.Next(3) == 0 ? null : "2026-01-01T00:00:00Z"), ("finalizers", Finalizers), ("ownerReferences", Owners),
            ("managedFields", () => new JsonArray(new JsonObject { ["manager"] = Text(), ["fieldsV1"] = new JsonObject { ["f:metadata"] = new JsonObject { ["f:ownerReferences"] = new JsonObject() } } })));

        private JsonNode? Finalizers() => random.Next(6) == 0 ? null : new JsonArray([.. Some(() => random.Next(3) switch { 0 => "foregroundDeletion", 1 => "orphan", _ => Text() })]);

        private JsonNode? Owners() => random.Next(6) == 0 ? null : new JsonArray([.. Some(() => Members(
            ("apiVersion", Text), ("kind", Text), ("name", Text), ("uid", Text), ("controller", Flag), ("blockOwnerDeletion", Flag), ("other", () => new JsonObject { ["uid"] = "x" })))]);

        private JsonNode? Flag() => random.Next(4) == 0 ? null : random.Next(2) == 0;

        private JsonNode Text() => s_texts[random.Next(s_texts.Length)];

        private IEnumerable<JsonNode?> Some(Func<JsonNode?> make)
        {
            for (var i = random.Next(4); i > 0; i--) yield return make();
        }

        private JsonObject Members(params (string Name, Func<JsonNode?> Make)[] members)
        {
            random.Shuffle(members);
            var result = new JsonObject();
            foreach (var (name, make) in members)
            {
                if (random.Next(5) != 0) result[name] = make();
            }
            return result;
        }
    }
}
