using System.Buffers;
using System.Text;
using BenchmarkDotNet.Attributes;
using K3sFast.ApiMachinery;

namespace K3sFast.Benchmarks;

/// <summary>
/// What a list does to each stored pod of 4 KB of JSON, owners of its fields included, for clients that want another form than JSON. One operation is one
/// pod; 1e9 / ns gives pods per second and core. Nothing is allocated.
/// </summary>
public class PodProjectionBenchmarks
{
    private static readonly DateTimeOffset s_now = new(2026, 3, 2, 0, 0, 0, TimeSpan.Zero);

    private readonly ArrayBufferWriter<byte> _output = new(64 * 1024);
    private readonly ProtobufListWriter _items = new();
    private byte[] _json = [];
    private TypeSchema _type = null!;
    private TypeSchema _partial = null!;
    private TableWriter _table = null!;

    [GlobalSetup]
    public void Setup()
    {
        var resource = Schema.BuiltIn.FindResource("", "v1", "pods")!;
        _type = resource.Type;
        _partial = Schema.BuiltIn.FindType("meta.k8s.io", "v1", "PartialObjectMetadata")!;
        _json = Encoding.UTF8.GetBytes(SamplePod.OwnedJson);
        _table = new TableWriter(resource, IncludeObject.Metadata, _output, s_now);
    }

    [GlobalCleanup]
    public void Cleanup() => _items.Dispose();

    /// <summary>As it was done before: a tree, then the message.</summary>
    [Benchmark(Baseline = true)]
    public int ProtobufThroughATree()
    {
        _items.Clear();
        using var pod = JsonCodec.Decode(_json, _type, DecodeOptions.Free, null);
        _items.Append(pod.Root, _type);
        return _items.Items.Length;
    }

    [Benchmark]
    public int ProtobufItem()
    {
        _items.Clear();
        return _items.Append(_json, _type);
    }

    [Benchmark]
    public int ProtobufPartialItem()
    {
        _items.Clear();
        return _items.Append(_json, _partial);
    }

    [Benchmark]
    public int ProtobufObject()
    {
        _output.ResetWrittenCount();
        ProtobufCodec.Transcode(_json, _type, _output);
        return _output.WrittenCount;
    }

    [Benchmark]
    public int TableRow()
    {
        _output.ResetWrittenCount();
        _table.AppendRow(_json);
        return _output.WrittenCount;
    }
}
