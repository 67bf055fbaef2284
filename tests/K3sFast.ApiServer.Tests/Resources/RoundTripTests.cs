using System.Buffers;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.ApiMachinery.Testing;

namespace K3sFast.ApiServer.Tests.Resources;

/// <summary>Any object of any kind is the same after it went through another wire form.</summary>
public sealed class RoundTripTests
{
    private const int ObjectsPerKind = 12;

    public static IEnumerable<TheoryDataRow<string>> Kinds() =>
        Schema.BuiltIn.Resources.Select(static r => r.Type.FullName).Distinct().Order(StringComparer.Ordinal).Select(static name => new TheoryDataRow<string>(name));

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Object_ThroughProtobufAndYaml_IsUnchanged(string typeName)
    {
        var type = Schema.BuiltIn.FindType(typeName)!;
        var seed = Environment.TickCount;
        for (var i = 0; i < ObjectsPerKind; i++)
        {
            var json = Encoding.UTF8.GetBytes(new ObjectGenerator(new Random(seed + i)).Generate(type).ToJsonString());
            var first = Canonical(json, type);
            Assert.True(first == Canonical(Encoding.UTF8.GetBytes(first), type), $"seed {seed + i}: canonical JSON is not stable\n{first}");

            var throughProtobuf = ThroughProtobuf(first, type);
            Assert.True(first == throughProtobuf, $"seed {seed + i}: JSON -> protobuf -> JSON\n{first}\n{throughProtobuf}");
            var throughYaml = ThroughYaml(first, type);
            Assert.True(first == throughYaml, $"seed {seed + i}: JSON -> YAML -> JSON\n{first}\n{throughYaml}");
        }
    }

    private static string Canonical(ReadOnlySpan<byte> json, TypeSchema type)
    {
        using var document = JsonCodec.Decode(json, type, DecodeOptions.Default, null);
        return Text(document, type);
    }

    private static string ThroughProtobuf(string json, TypeSchema type)
    {
        using var document = JsonCodec.Decode(Encoding.UTF8.GetBytes(json), type, DecodeOptions.Default, null);
        var wire = new ArrayBufferWriter<byte>();
        ProtobufCodec.Encode(document.Root, type, wire);
        using var back = ProtobufCodec.Decode(wire.WrittenSpan, Schema.BuiltIn);
        return Text(back, type);
    }

    private static string ThroughYaml(string json, TypeSchema type)
    {
        using var document = JsonCodec.Decode(Encoding.UTF8.GetBytes(json), type, DecodeOptions.Default, null);
        var yaml = new ArrayBufferWriter<byte>();
        YamlText.Write(document.Root, yaml);
        try
        {
            using var back = YamlCodec.Decode(yaml.WrittenSpan, type, DecodeOptions.Default, null);
            return Text(back, type);
        }
        catch (ApiStatusException refused)
        {
            return $"{refused.Status.Message}\n{Encoding.UTF8.GetString(yaml.WrittenSpan)}";
        }
    }

    private static string Text(ApiObject document, TypeSchema type)
    {
        var output = new ArrayBufferWriter<byte>();
        JsonCodec.Encode(document.Root, type, output);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }
}
