using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery.Tests;

public sealed class JsonCodecTests
{
    public static TheoryData<string, string> AllSamples => Samples.All;

    [Theory]
    [MemberData(nameof(AllSamples))]
    public void DecodeEncode_CanonicalObject_GivesTheSameBytes(string name, string json)
    {
        var strictErrors = new List<string>();
        var type = Samples.TypeOf(json);
        using var document = Text.Decode(json, type, strictErrors);

        Assert.Equal(json, Text.Encode(document, type));
        Assert.True(strictErrors.Count == 0, $"{name}: {string.Join(", ", strictErrors)}");
    }

    [Theory]
    // What is absent and not omitempty is written as its zero value; structs are always written.
    [InlineData("core.v1.Pod", """{"spec":{"containers":[{"name":"a"}]}}""", """{"metadata":{},"spec":{"containers":[{"name":"a","resources":{}}]},"status":{}}""")]
    [InlineData("core.v1.Pod", """{"spec":{}}""", """{"metadata":{},"spec":{"containers":null},"status":{}}""")]
    [InlineData("core.v1.Service", """{}""", """{"metadata":{},"spec":{},"status":{"loadBalancer":{}}}""")]
    [InlineData("core.v1.ContainerPort", """{"name":"","containerPort":0}""", """{"containerPort":0}""")]
    [InlineData("core.v1.ServicePort", """{"port":80}""", """{"port":80,"targetPort":0}""")]
    [InlineData("core.v1.ResourceFieldSelector", """{"resource":"limits.cpu"}""", """{"resource":"limits.cpu","divisor":"0"}""")]
    // Zero values of pointers stay, of others go.
    [InlineData("core.v1.PodSpec", """{"containers":[],"hostNetwork":false,"terminationGracePeriodSeconds":0,"nodeSelector":{}}""", """{"containers":[],"terminationGracePeriodSeconds":0}""")]
    // Nulls are dropped; in lists and maps they are zero values.
    [InlineData("core.v1.PodSpec", """{"nodeName":null,"containers":[null],"nodeSelector":{"b":null,"a":"1"}}""", """{"containers":[{"name":"","resources":{}}],"nodeSelector":{"a":"1","b":""}}""")]
    // Unknown fields are dropped, names are case-sensitive, order is the schema's.
    [InlineData("core.v1.EnvVar", """{"x":{"y":[1,{"z":2}]},"Value":"1","value":"2","name":"n"}""", """{"name":"n","value":"2"}""")]
    // Later duplicates win.
    [InlineData("core.v1.EnvVar", """{"name":"a","value":"1","name":"b"}""", """{"name":"b","value":"1"}""")]
    [InlineData("core.v1.ConfigMap", """{"data":{"a":"1","b":"2","a":"3"}}""", """{"metadata":{},"data":{"a":"3","b":"2"}}""")]
    // Canonical scalars.
    [InlineData("core.v1.ResourceRequirements", """{"limits":{"cpu":0.5,"memory":"1024Mi","x":"+5","y":" 2 "}}""", """{"limits":{"cpu":"500m","memory":"1Gi","x":"+5","y":"2"}}""")]
    [InlineData("meta.ObjectMeta", """{"creationTimestamp":"2026-03-01T12:20:30.999+02:00"}""", """{"creationTimestamp":"2026-03-01T10:20:30Z"}""")]
    [InlineData("core.v1.ServicePort", """{"port":-0,"targetPort":"http"}""", """{"port":0,"targetPort":"http"}""")]
    [InlineData("core.v1.Secret", """{"data":{"a":"YW\nJj"}}""", """{"metadata":{},"data":{"a":"YWJj"}}""")]
    // Strings: escapes, broken surrogates, HTML.
    [InlineData("core.v1.EnvVar", """{"name":"\u0041\ud83d\ude00\ud800x\/\u003c"}""", """{"name":"A😀�x/\u003c"}""")]
    public void DecodeEncode_Body_IsWrittenAsUpstreamWould(string typeName, string json, string expected)
    {
        var type = Text.Type(typeName.Replace("meta.", "apimachinery.pkg.apis.meta.v1.", StringComparison.Ordinal));
        Assert.Equal(expected, Text.Recode(json, type));
    }

    [Theory]
    [InlineData("""{"spec":{"nodeName":5}}""", "json: cannot unmarshal number into Go struct field PodSpec.spec.nodeName of type string")]
    [InlineData("""{"spec":{"priority":"high"}}""", "json: cannot unmarshal string into Go struct field PodSpec.spec.priority of type int32")]
    [InlineData("""{"spec":{"priority":1.5}}""", "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32")]
    [InlineData("""{"spec":{"priority":3000000000}}""", "json: cannot unmarshal number 3000000000 into Go struct field PodSpec.spec.priority of type int32")]
    [InlineData("""{"spec":{"containers":[{"name":"a","env":[{"name":"b","value":true}]}]}}""", "json: cannot unmarshal bool into Go struct field EnvVar.spec.containers.env.value of type string")]
    [InlineData("""{"spec":{"containers":{}}}""", "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container")]
    [InlineData("""{"spec":[]}""", "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec")]
    [InlineData("""{"metadata":{"labels":{"a":1}}}""", "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string")]
    [InlineData("""{"metadata":{"labels":"a"}}""", "json: cannot unmarshal string into Go struct field ObjectMeta.metadata.labels of type map[string]string")]
    [InlineData("""{"metadata":{"creationTimestamp":"now"}}""", "parsing time \"now\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"now\" as \"2006\"")]
    [InlineData("""{"spec":{"volumes":[{"name":"a","hostPath":"x"}]}}""", "json: cannot unmarshal string into Go struct field Volume.spec.volumes.VolumeSource.hostPath of type v1.HostPathVolumeSource")]
    [InlineData("""{"spec":{"containers":[{"resources":{"limits":{"cpu":"much"}}}]}}""", "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    [InlineData("""[]""", "json: cannot unmarshal array into Go value of type v1.Pod")]
    public void Decode_WrongType_RefusesInUpstreamsWords(string json, string words)
    {
        var status = Text.Refusal(() => Text.Decode(json, Text.Type("core.v1.Pod")));

        Assert.Equal($"Pod in version \"v1\" cannot be handled as a Pod: {words}", status.Message);
        Assert.Equal((400, "BadRequest"), (status.Code, status.Reason));
    }

    [Theory]
    [InlineData("""{"spec":{"foo":1}}""", "unknown field \"spec.foo\"")]
    [InlineData("""{"foo":1}""", "unknown field \"foo\"")]
    [InlineData("""{"spec":{"containers":[{"name":"a"},{"nme":"b","name":"c"}]}}""", "unknown field \"spec.containers[1].nme\"")]
    [InlineData("""{"spec":{"nodeName":"a","nodeName":"b"}}""", "duplicate field \"spec.nodeName\"")]
    [InlineData("""{"metadata":{"labels":{"a":"1","a":"2"}}}""", "duplicate field \"metadata.labels.a\"")]
    public void Decode_Strict_ReportsInUpstreamsWords(string json, string expected)
    {
        var strictErrors = new List<string>();
        using var document = Text.Decode(json, Text.Type("core.v1.Pod"), strictErrors);

        Assert.Equal([expected], strictErrors);
        Assert.Equal(
            $"Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: {expected}",
            JsonCodec.StrictFailure(Text.Type("core.v1.Pod"), strictErrors).Message);
    }

    // Values of any shape within a schema are decoded by upstream; what is raw stays as it was sent.
    [Theory]
    [InlineData("apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps", """{"default":{"z":1,"a":[{"y":null,"b":"<"}]},"example":[{"d":1,"c":2}]}""", """{"default":{"a":[{"b":"\u003c","y":null}],"z":1},"example":[{"c":2,"d":1}]}""")]
    [InlineData("apps.v1.ControllerRevision", """{"data":{"z":1,"a":{"d":1,"c":2}},"revision":1}""", """{"metadata":{},"data":{"z":1,"a":{"d":1,"c":2}},"revision":1}""")]
    public void Recode_FreeValues_AreSortedWhereUpstreamDecodesThem(string type, string json, string expected) => Assert.Equal(expected, Text.Recode(json, Text.Type(type)));

    [Theory]
    [InlineData("", "unexpected end of JSON input")]
    [InlineData("{", "unexpected end of JSON input")]
    [InlineData("{\"a\"", "unexpected end of JSON input")]
    [InlineData("{a}", "invalid character 'a' looking for beginning of object key string")]
    [InlineData("{\"a\" 1}", "invalid character '1' after object key")]
    [InlineData("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair")]
    [InlineData("[1 2]", "invalid character '2' after array element")]
    [InlineData("[1,]", "invalid character ']' looking for beginning of value")]
    [InlineData("{\"a\":1,}", "invalid character '}' looking for beginning of object key string")]
    [InlineData("{} x", "invalid character 'x' after top-level value")]
    [InlineData("\"a\nb\"", "invalid character '\\n' in string literal")]
    [InlineData("\"\\x\"", "invalid character 'x' in string escape code")]
    [InlineData("\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape")]
    [InlineData("tru", "unexpected end of JSON input")]
    [InlineData("trux", "invalid character 'x' in literal true (expecting 'e')")]
    [InlineData("-x", "invalid character 'x' in numeric literal")]
    [InlineData("1.x", "invalid character 'x' after decimal point in numeric literal")]
    [InlineData("01", "invalid character '1' after top-level value")]
    public void Decode_NoJson_RefusesInGosWords(string json, string words) => Assert.Equal(words, Text.Refusal(() => Text.Decode(json)).Message);

    [Fact]
    public void Decode_TooDeep_Refuses() =>
        Assert.Equal("invalid character '[' exceeded max depth", Text.Refusal(() => Text.Decode(new string('[', 100_000))).Message);

    [Fact]
    public void Decode_InvalidUtf8_BecomesReplacementCharacter()
    {
        using var document = JsonCodec.Decode([(byte)'"', (byte)'a', 0xFF, (byte)'b', (byte)'"'], null, DecodeOptions.Default, null);

        Assert.Equal("a\uFFFDb", document.Root.AsString());
    }

    [Fact]
    public void Decode_ManyDuplicateKeys_LastOnesStay()
    {
        var json = "{\"data\":{" + string.Join(",", Enumerable.Range(0, 5000).Select(i => $"\"k{i % 1000}\":\"{i}\"")) + "}}";
        using var document = Text.Decode(json, Text.Type("core.v1.ConfigMap"));

        Assert.Equal(1000, document.Root["data"u8].Count);
        Assert.Equal("4007", document.Root["data"u8]["k7"u8].AsString());
    }

    [Fact]
    public void Encode_WithoutType_SortsKeysAtEveryLevel()
    {
        using var document = Text.Decode("""{"b":1,"a":[{"d":null,"c":2.50}]}""");

        Assert.Equal("""{"a":[{"c":2.50,"d":null}],"b":1}""", Text.Encode(document));
    }

    [Fact]
    public void DecodeEncode_Pod_AllocatesNothingInSteadyState()
    {
        var body = Encoding.UTF8.GetBytes(Samples.Pod);
        var type = Text.Type("core.v1.Pod");
        var output = new ArrayBufferWriter<byte>(64 * 1024);
        for (var i = 0; i < 100; i++)
            Once();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            Once();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Once()
        {
            output.ResetWrittenCount();
            using var document = JsonCodec.Decode(body, type, DecodeOptions.Default, null);
            JsonCodec.Encode(document.Root, type, output);
        }
    }
}
