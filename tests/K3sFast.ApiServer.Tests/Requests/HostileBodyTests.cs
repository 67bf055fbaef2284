using System.Buffers;
using System.Diagnostics;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.ApiMachinery.Testing;

namespace K3sFast.ApiServer.Tests.Requests;

/// <summary>Bodies that are made to hurt: refused with a Status, in little time and memory, and never with anything but a refusal.</summary>
public sealed class HostileBodyTests(TestServer server)
{
    private const long MaxBytes = 32 * 1024 * 1024;

    // A tenth of a second is the law on a quiet core. What is not linear in the body takes many minutes, which is what shows on any machine.
    private static readonly TimeSpan s_maxTime = TimeSpan.FromMinutes(1);

    private static readonly TypeSchema s_type = Schema.BuiltIn.FindType("", "v1", "ConfigMap")!;

    private static readonly TypeSchema s_pod = Schema.BuiltIn.FindType("", "v1", "Pod")!;

    public static TheoryData<string> Bombs => [.. s_bombs.Keys];

    private static readonly Dictionary<string, Func<Action>> s_bombs = new()
    {
        ["JSON nested a million deep"] = static () => Json(new string('[', 1_000_000)),
        ["JSON objects nested deep in an unknown field"] = static () => Json("{\"x\":" + Repeat("{\"a\":", 300_000)),
        ["JSON nested deep in free data"] = static () => Json(s_revision, "{\"data\":" + new string('[', 1_000_000)),
        ["a number of a million digits"] = static () => Json("{\"metadata\":{\"generation\":" + new string('9', 1_000_000) + "}}"),
        ["a quantity of a million digits"] = static () => Json(s_pod, "{\"spec\":{\"overhead\":{\"cpu\":\"" + new string('9', 1_000_000) + "x\"}}}"),
        ["a quantity with a huge exponent"] = static () => Json(s_pod, "{\"spec\":{\"overhead\":{\"cpu\":\"1e999999999999\"}}}"),
        ["a string without end"] = static () => Json("{\"data\":{\"k\":\"" + new string('x', 2_000_000)),
        ["YAML aliases that multiply"] = static () => Yaml(Laughs()),
        ["YAML nested a hundred thousand deep"] = static () => Yaml(new string('[', 100_000)),
        ["YAML mappings nested deep"] = static () => Yaml(Repeat("{a: ", 6000)),
        ["an alias of itself"] = static () => Yaml("a: &a [*a]"),
        ["protobuf nested deep"] = static () => Protobuf(NestedProtobuf()),
        ["protobuf with a length beyond its end"] = static () => Protobuf([.. ProtobufCodec.Magic, 0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ["a JSON patch of 10,001 operations"] = static () => Patch(PatchKind.Json, "[" + string.Join(',', Enumerable.Repeat("{\"op\":\"test\",\"path\":\"/kind\",\"value\":\"ConfigMap\"}", 10_001)) + "]"),
        ["a JSON patch that copies itself"] = static () => Patch(PatchKind.Json, "[{\"op\":\"add\",\"path\":\"/data\",\"value\":{\"a\":\"" + new string('x', 10_000) + "\"}},"
            + string.Join(',', Enumerable.Range(0, 40).Select(static i => $"{{\"op\":\"copy\",\"from\":\"/data\",\"path\":\"/data/b{i}\"}}")) + "]"),
        ["a merge patch nested deep"] = static () => Patch(PatchKind.Merge, Repeat("{\"data\":", 100_000)),
        ["a strategic patch nested deep"] = static () => Patch(PatchKind.StrategicMerge, Repeat("{\"data\":", 100_000)),
        ["a JSON pointer of a million parts"] = static () => Patch(PatchKind.Json, "[{\"op\":\"add\",\"path\":\"" + Repeat("/a", 1_000_000) + "\",\"value\":1}]"),
    };

    private static TypeSchema s_revision => Schema.BuiltIn.FindType("apps", "v1", "ControllerRevision")!;

    [Theory]
    [MemberData(nameof(Bombs))]
    public void Bomb_IsRefused_InBoundedTimeAndMemory(string name)
    {
        var attack = s_bombs[name]();
        // Once for what is loaded only once.
        Assert.Throws<ApiStatusException>(attack);
        var bytes = GC.GetAllocatedBytesForCurrentThread();
        var clock = Stopwatch.StartNew();
        var refused = Assert.Throws<ApiStatusException>(attack);
        clock.Stop();
        bytes = GC.GetAllocatedBytesForCurrentThread() - bytes;
        Assert.InRange(refused.Status.Code, 400, 422);
        Assert.True(bytes < MaxBytes, $"{bytes} bytes allocated");
        Assert.True(clock.Elapsed < s_maxTime, $"took {clock.Elapsed}");
    }

    [Fact]
    public async Task Patch_WithTooManyOperations_IsTooLarge()
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"a"}}""");
        var patch = "[" + string.Join(',', Enumerable.Repeat("""{"op":"test","path":"/kind","value":"ConfigMap"}""", 10_001)) + "]";
        var answer = await server.SendAsync(HttpMethod.Patch, $"/api/v1/namespaces/{ns}/configmaps/a", patch, "application/json-patch+json");
        Assert.Equal((413, "RequestEntityTooLarge"), (answer.Code, answer.Reason));
        Assert.Equal("Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001", answer.Message);
    }

    [Theory]
    [InlineData("json")]
    [InlineData("yaml")]
    [InlineData("protobuf")]
    public void Decoder_OfMutatedBodies_OnlyEverRefuses(string form)
    {
        var seed = Environment.TickCount;
        var random = new Random(seed);
        var kinds = Schema.BuiltIn.Resources.Select(static r => r.Type).Distinct().ToArray();
        for (var i = 0; i < 1500; i++)
        {
            var type = kinds[random.Next(kinds.Length)];
            var body = Encode(form, type, random);
            Mutate(ref body, random);
            try
            {
                using var decoded = form switch
                {
                    "json" => JsonCodec.Decode(body, type, DecodeOptions.Default, []),
                    "yaml" => YamlCodec.Decode(body, type, DecodeOptions.Default, []),
                    _ => ProtobufCodec.Decode(body, Schema.BuiltIn, type),
                };
            }
            catch (ApiStatusException)
            {
                // Refused, as it should be.
            }
            catch (Exception error)
            {
                Assert.Fail($"seed {seed}, round {i}, {type}: {error}\n{Convert.ToBase64String(body)}");
            }
        }
    }

    private static byte[] Encode(string form, TypeSchema type, Random random)
    {
        var json = Encoding.UTF8.GetBytes(new ObjectGenerator(random).Generate(type).ToJsonString());
        if (form == "json")
            return json;
        using var document = JsonCodec.Decode(json, type, DecodeOptions.Default, null);
        var output = new ArrayBufferWriter<byte>();
        if (form == "yaml")
            YamlText.Write(document.Root, output);
        else
            ProtobufCodec.Encode(document.Root, type, output);
        return output.WrittenSpan.ToArray();
    }

    private static void Mutate(ref byte[] body, Random random)
    {
        for (var times = random.Next(1, 4); times > 0 && body.Length > 0; times--)
        {
            var at = random.Next(body.Length);
            switch (random.Next(5))
            {
                case 0: body[at] = (byte)random.Next(256); break;
                case 1: body[at] ^= (byte)(1 << random.Next(8)); break;
                case 2: body = body[..at]; break;
                case 3: body = [.. body[..at], .. body[Math.Min(body.Length, at + random.Next(1, 9))..]]; break;
                default: body = [.. body[..at], .. body[random.Next(at + 1)..at], .. body[at..]]; break;
            }
        }
    }

    private static Action Json(string text) => Json(s_type, text);

    private static Action Json(TypeSchema type, string text)
    {
        var body = Encoding.UTF8.GetBytes(text);
        return () => JsonCodec.Decode(body, type, DecodeOptions.Default, []).Dispose();
    }

    private static Action Yaml(string text)
    {
        var body = Encoding.UTF8.GetBytes(text);
        return () => YamlCodec.Decode(body, s_type, DecodeOptions.Default, []).Dispose();
    }

    private static Action Protobuf(byte[] body) => () => ProtobufCodec.Decode(body, Schema.BuiltIn, s_type).Dispose();

    private static Action Patch(PatchKind kind, string text)
    {
        var body = Encoding.UTF8.GetBytes(text);
        var original = JsonCodec.Decode("""{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}"""u8, s_type, DecodeOptions.Default, null);
        return () => PatchBody.Apply(original, kind, body, s_type, []).Dispose();
    }

    private static string Repeat(string text, int count) => new StringBuilder(text.Length * count).Insert(0, text, count).ToString();

    private static string Laughs()
    {
        var text = new StringBuilder("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for (var i = 1; i < 12; i++)
            text.Append($"a{i}: &a{i} [{string.Join(',', Enumerable.Repeat($"*a{i - 1}", 10))}]\n");
        return text.ToString();
    }

    // metadata.managedFields' bytes are free, so a raw envelope can hold an envelope can hold ...: here messages within messages of a JSON schema.
    private static byte[] NestedProtobuf()
    {
        byte[] inner = [];
        for (var i = 0; i < 3000; i++)
        {
            var length = new List<byte>();
            for (var rest = inner.Length; ; rest >>= 7)
            {
                if (rest < 0x80)
                {
                    length.Add((byte)rest);
                    break;
                }
                length.Add((byte)(rest | 0x80));
            }
            // JSONSchemaProps.not = 28
            inner = [0xe2, 0x01, .. length, .. inner];
        }
        return Wrap(inner);
    }

    private static byte[] Wrap(byte[] schema)
    {
        // CustomResourceDefinition { spec = 2 { versions = 7 { schema = 4 { openAPIV3Schema = 1 } } } } in its envelope.
        var type = Encoding.ASCII.GetBytes("apiextensions.k8s.io/v1");
        var kind = Encoding.ASCII.GetBytes("CustomResourceDefinition");
        byte[] meta = [0x0a, (byte)type.Length, .. type, 0x12, (byte)kind.Length, .. kind];
        return [.. ProtobufCodec.Magic, 0x0a, (byte)meta.Length, .. meta, .. Field(0x12, Field(0x12, Field(0x3a, Field(0x22, Field(0x0a, schema)))))];
    }

    private static byte[] Field(byte tag, byte[] content)
    {
        var bytes = new List<byte> { tag };
        for (var rest = content.Length; ; rest >>= 7)
        {
            bytes.Add((byte)(rest < 0x80 ? rest : rest | 0x80));
            if (rest < 0x80)
                break;
        }
        bytes.AddRange(content);
        return [.. bytes];
    }
}
