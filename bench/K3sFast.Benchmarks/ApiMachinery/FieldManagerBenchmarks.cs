using System.Buffers;
using System.Text;
using BenchmarkDotNet.Attributes;
using K3sFast.ApiMachinery;

namespace K3sFast.Benchmarks;

/// <summary>
/// What the ownership of fields adds to one write of a pod of 2.9 KB, and an apply of the whole pod: merge, owners, prune, conflicts, without admission
/// and encoding. One operation is one pod. The goal is a dry-run apply of 100 objects in 100 ms, 1 ms each, everything included.
/// </summary>
public class FieldManagerBenchmarks
{
    private readonly DateTimeOffset _now = new(2026, 3, 1, 10, 20, 30, TimeSpan.Zero);
    private TypeSchema _type = null!;
    private FieldManager _pods = null!;
    private FieldManager _status = null!;
    private ApiObject _live = null!;
    private ApiObject _same = null!;
    private ApiObject _changed = null!;
    private ApiObject _new = null!;
    private ApiObject _config = null!;
    private ApiObject _smaller = null!;

    [GlobalSetup]
    public void Setup()
    {
        var resource = Schema.BuiltIn.FindResource("", "v1", "pods")!;
        _type = resource.Type;
        var versions = new SingleVersion(_type);
        _pods = new FieldManager(_type, "", ResetFields.For(resource, ""), versions);
        _status = new FieldManager(_type, "status", ResetFields.For(resource, "status"), versions);
        var json = Encoding.UTF8.GetBytes(SamplePod.Json);
        _new = JsonCodec.Decode(json, _type, DecodeOptions.Default, null);
        _config = JsonCodec.Decode(json, _type, DecodeOptions.Default, null);
        _config.Root.Remove("status"u8);
        foreach (var name in (ReadOnlySpan<string>)["uid", "resourceVersion", "creationTimestamp"])
            _config.Root["metadata"u8].Remove(Encoding.UTF8.GetBytes(name));
        using var noted = _new.Clone();
        noted.Root["metadata"u8].Remove("uid"u8);
        _pods.Update(default, noted.Root, "kube-controller-manager", _now);
        using var applied = _pods.Apply(noted.Root, _config.Root, "applier", true, _now);
        applied.Root["metadata"u8].Set("uid"u8, "7c0f4e0e-3a44-4b52-9b39-9a4a1ad0c1de"u8);
        _live = Canonical(applied);
        _same = Canonical(applied);
        _changed = Canonical(applied);
        foreach (var condition in _changed.Root["status"u8]["conditions"u8].Elements)
            condition.Set("status"u8, "False"u8);
        _smaller = _config.Clone();
        _smaller.Root["metadata"u8].Remove("labels"u8);
    }

    /// <summary>An update that changes nothing: one walk over both trees.</summary>
    [Benchmark(Baseline = true)]
    public void UpdateUnchanged() => _pods.Update(_live.Root, _same.Root, "kubelet", _now);

    /// <summary>The kubelet's ordinary write: conditions change, three sets of owners are read and written. The copy of the object is part of it.</summary>
    [Benchmark]
    public int UpdateStatus()
    {
        using var changed = _changed.Clone();
        _status.Update(_live.Root, changed.Root, "kubelet", _now);
        return changed.Root.Count;
    }

    /// <summary>A create: everything is new. The copy of the object is part of it.</summary>
    [Benchmark]
    public int Create()
    {
        using var created = _new.Clone();
        _pods.Update(default, created.Root, "kubectl-create", _now);
        return created.Root.Count;
    }

    /// <summary>An apply of what is there already.</summary>
    [Benchmark]
    public int ApplyUnchanged()
    {
        using var applied = _pods.Apply(_live.Root, _config.Root, "applier", false, _now);
        return applied.Root.Count;
    }

    /// <summary>An apply that takes fields away.</summary>
    [Benchmark]
    public int ApplyWithLess()
    {
        using var applied = _pods.Apply(_live.Root, _smaller.Root, "applier", false, _now);
        return applied.Root.Count;
    }

    private ApiObject Canonical(ApiObject document)
    {
        var output = new ArrayBufferWriter<byte>();
        JsonCodec.Encode(document.Root, _type, output);
        return JsonCodec.Decode(output.WrittenSpan, null, DecodeOptions.Free, null);
    }
}
