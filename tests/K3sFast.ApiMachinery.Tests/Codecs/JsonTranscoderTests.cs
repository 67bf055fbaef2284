using System.Buffers;
using System.Text;
using K3sFast.ApiMachinery.Testing;

namespace K3sFast.ApiMachinery.Tests;

/// <summary>What becomes protobuf without a tree is the same to the byte as what becomes it through one.</summary>
public sealed class JsonTranscoderTests
{
    private const int ObjectsPerKind = 40;

    public static TheoryData<string, string> AllSamples => Samples.All;

    public static IEnumerable<TheoryDataRow<string>> Kinds() =>
        Schema.BuiltIn.Resources.Select(static r => r.Type.FullName).Distinct().Order(StringComparer.Ordinal).Select(static name => new TheoryDataRow<string>(name));

    [Theory]
    [MemberData(nameof(AllSamples))]
    public void Message_OfASample_IsTheTreesAndNeedsNone(string name, string json)
    {
        Assert.NotEmpty(name);
        AssertSame(json, Samples.TypeOf(json), "sample");
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Message_OfAnyCanonicalObject_IsTheTreesAndNeedsNone(string typeName)
    {
        var type = Schema.BuiltIn.FindType(typeName)!;
        var seed = Environment.TickCount;
        for (var i = 0; i < ObjectsPerKind; i++)
        {
            using var generated = Text.Decode(new ObjectGenerator(new Random(seed + i)).Generate(type).ToJsonString(), type);
            AssertSame(Text.Encode(generated, type), type, $"seed {seed + i}");
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Message_OfTextAsOthersWriteIt_IsTheTreesIfItIsTaken(string typeName)
    {
        var type = Schema.BuiltIn.FindType(typeName)!;
        var seed = Environment.TickCount;
        for (var i = 0; i < ObjectsPerKind; i++)
        {
            var random = new Random(seed + i);
            var text = new OddJson(random, oneIn: 20 << random.Next(6)).Write(new ObjectGenerator(random).Generate(type));
            var json = Encoding.UTF8.GetBytes(text);
            if (Transcoded(json, type) is not { } transcoded)
                continue;
            using var document = JsonCodec.TryDecode(json, type, DecodeOptions.Default, null, out var error, out _);
            Assert.True(document is not null, $"seed {seed + i}: taken, but {error}\n{text}");
            var writer = new ProtoWriter(1024);
            ProtoTreeEncoder.WriteMessage(ref writer, document.Root, type);
            Assert.True(writer.Written.SequenceEqual(transcoded), $"seed {seed + i}: other bytes\n{text}");
            writer.Dispose();
        }
    }

    [Theory]
    [InlineData("""{"metadata":{"name":"a","creationTimestamp":null},"spec":null}""")]
    [InlineData("""{"metadata":{},"spec":{"containers":[],"nodeSelector":{},"securityContext":{}},"status":{}}""")]
    [InlineData("""{}""")]
    [InlineData("""{"kind":"Pod"}""")]
    [InlineData("""{"unknown":{"a":[1,{"b":"}]\\\""}]},"metadata":{"nope":"x","name":"a"},"other":null}""")]
    [InlineData("""{"metadata":{"name":"\ud83d\ude00 \u00e9 \\ \" \/ \b\f\n\r\t \u2028 \u0001","labels":{"a":"\u003c","b":""}}}""")]
    [InlineData("""{"metadata":{"name":"\ud83d","uid":"\ude00\ud83d x"}}""")]
    [InlineData("""{"metadata":{"annotations":{"a\tb":"1","a\u0041":"2"}}}""")]
    [InlineData("""{"metadata":{"generation":-9223372036854775808,"deletionGracePeriodSeconds":0}}""")]
    [InlineData("""{"spec":{"priority":-2147483648,"terminationGracePeriodSeconds":9223372036854775807}}""")]
    [InlineData("""{"metadata":{"creationTimestamp":"1900-02-28T23:59:59Z","deletionTimestamp":"9999-12-31T23:59:59Z"}}""")]
    [InlineData("""{"status":{"observedGeneration":3,"phase":"Running","startTime":"2026-01-01T00:00:00Z"}}""")]
    [InlineData("""{"spec":{"initContainers":[{"name":"i","resources":{"limits":{"cpu":"-1m","memory":"1536Mi"}}}],"containers":[{"name":"c","resources":{}}],"hostUsers":false}}""")]
    [InlineData("""{"spec":{"volumes":[{"name":"v"},{"name":"w","emptyDir":{}},{"name":"x","projected":{"sources":[{},{"secret":{"name":"s"}}],"defaultMode":420}}],"containers":[{"name":"c","livenessProbe":{"tcpSocket":{"port":8080},"periodSeconds":3},"readinessProbe":{"initialDelaySeconds":1},"resources":{}}]}}""")]
    [InlineData("""{"spec":{"ephemeralContainers":[{"name":"d","resources":{},"targetContainerName":"c"}]}}""")]
    [InlineData("""{"metadata":{"managedFields":[{"manager":"m","fieldsV1":{"f:spec":{"k:{\"name\":\"c\"}":{".":{},"v:\"\\u003c\"":{}}}}},{"manager":"n","fieldsV1":null},{"manager":"o","fieldsV1":{}}]}}""")]
    public void Message_OfAPodAtTheEdges_IsTheTreesAndNeedsNone(string json) => AssertSame(json, Text.Type("core.v1.Pod"), json);

    // What no encoder of ours writes is read by the decoder of everything.
    [Theory]
    [InlineData("""{ "metadata":{"name":"a"}}""")]
    [InlineData("""{"metadata":{"name":"a"} }""")]
    [InlineData("""{"metadata":{"name":"a","name":"b"}}""")]
    [InlineData("""{"metadata":{"namespace":"b","name":"a"}}""")]
    [InlineData("""{"metadata":{"labels":{"b":"1","a":"2"}}}""")]
    [InlineData("""{"metadata":{"labels":{"a":"1","a":"2"}}}""")]
    [InlineData("""{"metadata":{"labels":{"a":null}}}""")]
    [InlineData("""{"metadata":{"finalizers":["a",null]}}""")]
    [InlineData("""{"metadata":{"na\u006de":"a"}}""")]
    [InlineData("""{"metadata":{"creationTimestamp":"0001-01-01T00:00:00Z"}}""")]
    [InlineData("""{"metadata":{"creationTimestamp":"2026-01-01T02:00:00+02:00"}}""")]
    [InlineData("""{"metadata":{"managedFields":[{"fieldsV1":{"a": 1}}]}}""")]
    [InlineData("""{"metadata":{"managedFields":[{"fieldsV1":{"a":"<\u003C\/"}}]}}""")]
    [InlineData("""{"metadata":{"managedFields":[{"fieldsV1":{"a":"\u0009\u2028"}}]}}""")]
    public void Append_OfTextThatIsNotCanonical_IsTheTrees(string json)
    {
        var type = Text.Type("core.v1.Pod");
        var bytes = Encoding.UTF8.GetBytes(json);
        Assert.Null(Transcoded(bytes, type));
        using var list = new ProtobufListWriter();
        Assert.Equal(list.Append(bytes, type), list.Items.Length);
        using var document = JsonCodec.Decode(bytes, type, DecodeOptions.Default, null);
        using var wanted = new ProtobufListWriter();
        wanted.Append(document.Root, type);
        Assert.Equal(wanted.Items.ToArray(), list.Items.ToArray());
    }

    [Theory]
    [InlineData("""{"metadata":{"generation":1.5}}""")]
    [InlineData("""{"metadata":{"generation":"1"}}""")]
    [InlineData("""{"metadata":[]}""")]
    [InlineData("""{"spec":{"priority":2147483648}}""")]
    [InlineData("""{"spec":{"hostNetwork":tru}}""")]
    [InlineData("""{"metadata":{"name":"a"}""")]
    [InlineData("""{"metadata":{"name":"a""")]
    [InlineData("""{"metadata":{"name":"a\""")]
    [InlineData("""{"metadata":{"name":"a\u00"}}""")]
    [InlineData("""{"metadata":{"name":"a"}}x""")]
    [InlineData("""{"metadata":{"name":"a"],"x":1}""")]
    [InlineData("""{"x":""")]
    [InlineData("")]
    [InlineData("[]")]
    public void Message_OfWhatIsNoObjectOfTheType_IsNotWritten(string json) => Assert.Null(Transcoded(Encoding.UTF8.GetBytes(json), Text.Type("core.v1.Pod")));

    [Fact]
    public void Message_OfEveryPrefixAndOfDamagedText_StaysInsideIt()
    {
        var type = Text.Type("core.v1.Pod");
        var json = Encoding.UTF8.GetBytes(Samples.Pod);
        for (var length = 0; length < json.Length; length++)
            Assert.Null(Transcoded(json.AsSpan(0, length), type));
        var random = new Random(20260302);
        for (var i = 0; i < 5000; i++)
        {
            var damaged = json.ToArray();
            for (var j = 0; j < 2; j++)
                damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            Transcoded(damaged, type);
        }
    }

    [Fact]
    public void Transcode_EverySample_IsEncodesEnvelope()
    {
        foreach (var row in Samples.All)
        {
            var json = row.Data.Item2;
            var type = Samples.TypeOf(json);
            using var document = Text.Decode(json, type);
            var wanted = new ArrayBufferWriter<byte>();
            ProtobufCodec.Encode(document.Root, type, wanted);
            var output = new ArrayBufferWriter<byte>();
            ProtobufCodec.Transcode(Encoding.UTF8.GetBytes(json), type, output);
            Assert.Equal(wanted.WrittenSpan.ToArray(), output.WrittenSpan.ToArray());
        }
    }

    [Fact]
    public void Wire_OfEveryType_CanBeTracked()
    {
        foreach (var type in Schema.BuiltIn.Types)
            Assert.True(type.Wire.IsInJsonOrder || type.Wire.Fields.Length <= 64, type.FullName);
    }

    [Fact]
    public void AppendAndTranscode_OfAPod_AllocateNothing()
    {
        var type = Text.Type("core.v1.Pod");
        var json = Encoding.UTF8.GetBytes(Samples.Pod);
        using var list = new ProtobufListWriter();
        var output = new ArrayBufferWriter<byte>(64 * 1024);
        for (var i = 0; i < 100; i++)
            Once();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            Once();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Once()
        {
            list.Clear();
            list.Append(json, type);
            output.ResetWrittenCount();
            ProtobufCodec.Transcode(json, type, output);
        }
    }

    private static void AssertSame(string json, TypeSchema type, string source)
    {
        var bytes = Encoding.UTF8.GetBytes(json);
        using var document = JsonCodec.Decode(bytes, type, DecodeOptions.Default, null);
        var writer = new ProtoWriter(1024);
        ProtoTreeEncoder.WriteMessage(ref writer, document.Root, type);
        var wanted = writer.Written.ToArray();
        writer.Dispose();
        var transcoded = Transcoded(bytes, type);
        Assert.True(transcoded is not null, $"{source}: not taken\n{json}");
        Assert.True(wanted.AsSpan().SequenceEqual(transcoded), $"{source}: other bytes\n{json}\n{Convert.ToHexString(wanted)}\n{Convert.ToHexString(transcoded)}");
    }

    private static byte[]? Transcoded(ReadOnlySpan<byte> json, TypeSchema type)
    {
        var writer = new ProtoWriter(16);
        writer.Raw("before"u8);
        var isTaken = JsonTranscoder.TryWriteMessage(json, type, ref writer);
        Assert.True(writer.Written.StartsWith("before"u8));
        var written = writer.Written[6..].ToArray();
        writer.Dispose();
        Assert.True(isTaken || written.Length == 0);
        return isTaken ? written : null;
    }
}
