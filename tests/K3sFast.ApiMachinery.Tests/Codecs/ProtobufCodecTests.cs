using System.Buffers;

namespace K3sFast.ApiMachinery.Tests;

public sealed class ProtobufCodecTests
{
    public static TheoryData<string, string> AllSamples => Samples.All;

    [Theory]
    [MemberData(nameof(AllSamples))]
    public void JsonProtoJson_CanonicalObject_IsTheSame(string name, string json)
    {
        var type = Samples.TypeOf(json);
        using var original = Text.Decode(json, type);
        var envelope = Encode(original, type);
        using var decoded = ProtobufCodec.Decode(envelope, Schema.BuiltIn);

        // The wire cannot tell an empty list from an absent one.
        Assert.Equal(name == nameof(Samples.PodList) ? json.Replace("\"items\":[]", "\"items\":null", StringComparison.Ordinal) : json, Text.Encode(decoded, type));
        Assert.Equal(envelope, Encode(decoded, type));
    }

    [Fact]
    public void Encode_Namespace_IsUpstreamsBytes()
    {
        using var document = Text.Decode("""{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"a"}}""", Text.Type("core.v1.Namespace"));
        byte[] metadata = [0x0A, 1, (byte)'a', 0x12, 0, 0x1A, 0, 0x22, 0, 0x2A, 0, 0x32, 0, 0x38, 0, 0x42, 0];
        byte[] raw = [0x0A, (byte)metadata.Length, .. metadata, 0x12, 0, 0x1A, 2, 0x0A, 0];
        byte[] typeMeta = [0x0A, 2, .. "v1"u8, 0x12, 9, .. "Namespace"u8];

        Assert.Equal(
            [.. "k8s\0"u8, 0x0A, (byte)typeMeta.Length, .. typeMeta, 0x12, (byte)raw.Length, .. raw, 0x1A, 0, 0x22, 0],
            Encode(document, Text.Type("core.v1.Namespace")));
    }

    [Fact]
    public void Decode_EveryPrefixOfABody_IsRefusedOrRead()
    {
        using var document = Text.Decode(Samples.Pod, Text.Type("core.v1.Pod"));
        var envelope = Encode(document, Text.Type("core.v1.Pod"));
        for (var length = 0; length < envelope.Length; length++)
        {
            try
            {
                ProtobufCodec.Decode(envelope.AsSpan(0, length), Schema.BuiltIn).Dispose();
            }
            catch (ApiStatusException refused)
            {
                Assert.Equal(400, refused.Status.Code);
            }
        }
    }

    [Fact]
    public void Decode_DamagedBodies_NeverFailOtherwise()
    {
        using var document = Text.Decode(Samples.CustomResourceDefinition, Samples.TypeOf(Samples.CustomResourceDefinition));
        var envelope = Encode(document, Samples.TypeOf(Samples.CustomResourceDefinition));
        var random = new Random(20260301);
        for (var i = 0; i < 5000; i++)
        {
            var damaged = envelope.ToArray();
            for (var j = 0; j < 3; j++)
                damaged[random.Next(4, damaged.Length)] = (byte)random.Next(256);
            try
            {
                ProtobufCodec.Decode(damaged, Schema.BuiltIn).Dispose();
            }
            catch (ApiStatusException refused)
            {
                Assert.Equal(400, refused.Status.Code);
            }
        }
    }

    [Fact]
    public void Decode_UnknownKind_RefusesWithItsName()
    {
        byte[] typeMeta = [0x0A, 2, .. "v9"u8, 0x12, 3, .. "Foo"u8];
        byte[] body = [.. "k8s\0"u8, 0x0A, (byte)typeMeta.Length, .. typeMeta];

        Assert.Equal("no kind \"Foo\" is registered for version \"v9\"", Text.Refusal(() => ProtobufCodec.Decode(body, Schema.BuiltIn)).Message);
    }

    [Fact]
    public void EncodeWatchFrame_Event_HasLengthTypeAndRawObject()
    {
        var output = new ArrayBufferWriter<byte>();
        ProtobufCodec.EncodeWatchFrame("ADDED"u8, [1, 2, 3], output);

        Assert.Equal([0, 0, 0, 14, 0x0A, 5, .. "ADDED"u8, 0x12, 5, 0x0A, 3, 1, 2, 3], output.WrittenSpan.ToArray());
    }

    private static byte[] Encode(ApiObject document, TypeSchema type)
    {
        var output = new ArrayBufferWriter<byte>();
        ProtobufCodec.Encode(document.Root, type, output);
        return output.WrittenSpan.ToArray();
    }
}
