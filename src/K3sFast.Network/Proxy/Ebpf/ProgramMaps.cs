using System.Reflection;
using K3sFast.Interop.Bpf;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>
/// The maps of a node's programs, by name; programs that name the same map share it. They are pinned: the next run finds them with everything in them. One
/// that is to have another size now is made anew, and what was in it can be taken over once the new programs run.
/// </summary>
internal sealed class ProgramMaps : IDisposable
{
    private readonly string _directory;
    private readonly Func<BpfMapSpec, BpfMapSpec> _resize;
    private readonly Dictionary<string, BpfMap> _maps = [];
    private readonly Dictionary<string, BpfMap> _before = [];
    private readonly HashSet<string> _unpinned = [];

    /// <param name="directory">Where the pins are.</param>
    /// <param name="resize">Gives maps another number of entries than the object file asks for; null = none.</param>
    internal ProgramMaps(string directory, Func<BpfMapSpec, BpfMapSpec>? resize) => (_directory, _resize) = (directory, resize ?? (static spec => spec));

    /// <summary>All maps.</summary>
    internal IReadOnlyDictionary<string, BpfMap> All => _maps;

    /// <summary>A map.</summary>
    internal BpfMap this[string name] => _maps[name];

    /// <summary>Opens or makes the maps that an object file asks for and that are not there yet.</summary>
    internal void Open(BpfObject source)
    {
        foreach (var wanted in source.Maps)
        {
            if (_maps.ContainsKey(wanted.Name)) continue;
            var spec = _resize(wanted);
            var known = BpfMap.OpenPinned(Path.Combine(_directory, spec.Name), spec);
            if (known?.Spec.MaxEntries == spec.MaxEntries)
            {
                _maps[spec.Name] = known;
                continue;
            }
            if (known is not null) _before[spec.Name] = known;
            _maps[spec.Name] = BpfMap.Create(spec);
            _unpinned.Add(spec.Name);
        }
    }

    /// <summary>Makes the maps outlive this process.</summary>
    internal void Pin()
    {
        Directory.CreateDirectory(_directory);
        foreach (var name in _unpinned)
        {
            var path = Path.Combine(_directory, name);
            File.Delete(path);
            _maps[name].Pin(path);
        }
        _unpinned.Clear();
    }

    /// <summary>Adds what a map of another size had to the one in its place. Call it before that works, and after.</summary>
    internal void TakeOver<TKey, TValue>(string name) where TKey : unmanaged where TValue : unmanaged
    {
        if (!_before.TryGetValue(name, out var old)) return;
        foreach (var (key, value) in old.ReadAll<TKey, TValue>()) _maps[name].TryAdd(key, value);
    }

    /// <summary>An object file that the binary carries.</summary>
    internal static BpfObject ReadObject(string name)
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name) ?? throw new InvalidOperationException($"the binary carries no {name}");
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return BpfObject.Parse(bytes);
    }

    /// <summary>Closes what is open; what is pinned stays.</summary>
    public void Dispose()
    {
        foreach (var map in _maps.Values.Concat(_before.Values)) map.Dispose();
    }
}
