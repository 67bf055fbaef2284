using System.Buffers;
using System.Text;
using BenchmarkDotNet.Attributes;
using K3sFast.ApiMachinery;

namespace K3sFast.Benchmarks;

/// <summary>
/// The write path's own work on one pod of 2.9 KB of JSON, status included. One operation is one pod; 1e9 / ns gives pods per second
/// and core. The budget of design.md: decode, default, validate and encode together in 30 us, without allocation in the codecs.
/// </summary>
public class PodCodecBenchmarks
{
    private readonly ArrayBufferWriter<byte> _output = new(64 * 1024);
    private byte[] _json = [];
    private byte[] _protobuf = [];
    private TypeSchema _type = null!;
    private ResourceInfo _resource = null!;
    private ApiObject _pod = null!;

    [GlobalSetup]
    public void Setup()
    {
        _resource = Schema.BuiltIn.FindResource("", "v1", "pods")!;
        _type = _resource.Type;
        _json = Encoding.UTF8.GetBytes(SamplePod.Json);
        _pod = JsonCodec.Decode(_json, _type, DecodeOptions.Default, null);
        var output = new ArrayBufferWriter<byte>();
        ProtobufCodec.Encode(_pod.Root, _type, output);
        _protobuf = output.WrittenSpan.ToArray();
    }

    [Benchmark(Baseline = true)]
    public int DecodeJson()
    {
        using var pod = JsonCodec.Decode(_json, _type, DecodeOptions.Default, null);
        return pod.Root.Count;
    }

    [Benchmark]
    public int EncodeJson()
    {
        _output.ResetWrittenCount();
        JsonCodec.Encode(_pod.Root, _type, _output);
        return _output.WrittenCount;
    }

    [Benchmark]
    public int DecodeDefaultValidateEncodeJson()
    {
        _output.ResetWrittenCount();
        using var pod = JsonCodec.Decode(_json, _type, DecodeOptions.Default, null);
        Defaulting.Apply(pod.Root, _resource);
        var errors = Validation.ValidateCreate(pod.Root, _resource);
        JsonCodec.Encode(pod.Root, _type, _output);
        return _output.WrittenCount + errors.Count;
    }

    [Benchmark]
    public int DecodeProtobuf()
    {
        using var pod = ProtobufCodec.Decode(_protobuf, Schema.BuiltIn);
        return pod.Root.Count;
    }

    [Benchmark]
    public int EncodeProtobuf()
    {
        _output.ResetWrittenCount();
        ProtobufCodec.Encode(_pod.Root, _type, _output);
        return _output.WrittenCount;
    }
}
