using BenchmarkDotNet.Attributes;
using K3sFast.ApiMachinery;

namespace K3sFast.Benchmarks;

/// <summary>One operation is one selector against the labels of one object, as every watcher does for every event. Budget: 0 B.</summary>
public class SelectorBenchmarks
{
    private static ReadOnlySpan<byte> Labels => """{"app":"web","app.kubernetes.io/name":"web","pod-template-hash":"6d4cf56db6","tier":"front"}"""u8;

    private LabelSelector _selector = LabelSelector.Everything;

    [Params("tier=front", "app in (db,web),tier!=back,!missing")]
    public string Selector { get; set; } = "";

    [GlobalSetup]
    public void Setup() => _selector = LabelSelector.Parse(Selector);

    [Benchmark]
    public bool Match() => _selector.Matches(Labels);
}
