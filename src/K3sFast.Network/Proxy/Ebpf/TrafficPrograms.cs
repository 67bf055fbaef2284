using System.Runtime.InteropServices;
using K3sFast.Interop;
using K3sFast.Interop.Bpf;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;

namespace K3sFast.Network.Proxy.Ebpf;

/// <summary>The programs for packets from and to outside, one pair for links with Ethernet headers and, once asked for, one for links without headers.</summary>
internal sealed class TrafficPrograms : IDisposable
{
    private const string IngressSection = "tc/ingress";

    private readonly ProgramMaps _maps;
    private readonly BpfObject _source;
    private readonly TrafficSettings _settings;
    private readonly Dictionary<uint, (BpfProgram Ingress, BpfProgram Egress)> _pairs = [];

    private TrafficPrograms(ProgramMaps maps, BpfObject source, TrafficSettings settings) => (_maps, _source, _settings) = (maps, source, settings);

    internal BpfMap Frontends => _maps["outside_frontends"];
    internal BpfMap Sources => _maps["sources"];
    internal BpfMap PodNetworks => _maps["pod_networks"];
    internal BpfMap Connections => _maps["connections"];

    /// <summary>Loads the programs; their maps go to the others.</summary>
    /// <exception cref="KernelException">This kernel does not take them, or has no classifier for them.</exception>
    internal static TrafficPrograms Load(ProgramMaps maps, TrafficSettings settings)
    {
        var source = ProgramMaps.ReadObject("traffic.bpf.o");
        if (source.ReadOnlyData.Length != Marshal.SizeOf<TrafficSettings>()) throw new InvalidDataException("the programs' settings are not ours");
        maps.Open(source);
        var loaded = new TrafficPrograms(maps, source, settings);
        try
        {
            Try(loaded.For(TrafficSettings.Ethernet).Ingress);
            return loaded;
        }
        catch
        {
            loaded.Dispose();
            throw;
        }
    }

    /// <summary>The programs for links whose packets start with so many bytes.</summary>
    internal (BpfProgram Ingress, BpfProgram Egress) For(uint linkHeader)
    {
        if (_pairs.TryGetValue(linkHeader, out var known)) return known;
        var settings = _settings with { LinkHeader = linkHeader };
        using var constants = BpfMap.CreateConstants(MemoryMarshal.AsBytes(new ReadOnlySpan<TrafficSettings>(in settings)));
        (BpfProgram? ingress, BpfProgram? egress) = (null, null);
        foreach (var spec in _source.Programs)
        {
            var program = BpfProgram.Load(spec, _source, _maps.All, constants);
            if (spec.Section == IngressSection) ingress = program;
            else egress = program;
        }
        return _pairs[linkHeader] = (ingress!, egress!);
    }

    /// <summary>Closes what is open; programs that hang on links go on.</summary>
    public void Dispose()
    {
        foreach (var (ingress, egress) in _pairs.Values)
        {
            ingress.Dispose();
            egress.Dispose();
        }
    }

    // Whether the kernel has the classifier is seen where it disturbs nobody.
    private static void Try(BpfProgram program)
    {
        using var nowhere = NetworkNamespace.Create();
        using var route = RouteSocket.Open(nowhere);
        using var batch = new NetlinkBatch();
        batch.AddClassifier(1);
        batch.ReplaceProgram(1, isEgress: false, TrafficLinks.Priority, "probe", program);
        route.Execute(batch);
    }
}
