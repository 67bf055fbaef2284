using System.Diagnostics;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.Tests.Policy;
using k8s.Models;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>Pods that all send to all, on each protocol, family and port: what arrives is held against what the policies' words say.</summary>
internal sealed class ProbedPods : IDisposable
{
    private static readonly ushort[] s_ports = [80, 81];
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(10);

    private readonly List<(PolicyJudge.Pod Info, PacketProbe Probe)> _pods;
    private readonly Dictionary<System.Net.IPAddress, PolicyJudge.Pod> _byAddress;

    // A new one for each attempt: what was let through once belongs to a connection, and is let through on.
    private ushort _sourcePort = 2000;

    internal ProbedPods(IEnumerable<(PolicyJudge.Pod Info, NetworkNamespace Pod, List<IDisposable> Servers)> pods)
    {
        _pods = [.. pods.Select(static pod => (pod.Info, new PacketProbe(pod.Pod)))];
        _byAddress = _pods.SelectMany(static pod => pod.Info.Addresses, static (pod, address) => (pod.Info, address)).ToDictionary(static pair => pair.address, static pair => pair.Info);
    }

    internal async Task ExpectAsync(IReadOnlyList<V1NetworkPolicy> policies, string name, Func<string> log)
    {
        var wanted = All().Where(way => PolicyJudge.Allows(policies, way.From, way.To, way.Family, PacketProbe.NameOf(way.Protocol), way.Port)).Select(Text).ToHashSet();
        var wrong = "";
        var watch = Stopwatch.StartNew();
        while (true)
        {
            var seen = await AskAllAsync(wanted);
            if (seen.SetEquals(wanted)) return;
            wrong = $"let through though it should not: {string.Join(' ', seen.Except(wanted))}\nnot let through: {string.Join(' ', wanted.Except(seen))}";
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(60), $"{name}: {wrong}\n{log()}");
        }
    }

    public void Dispose()
    {
        foreach (var (_, probe) in _pods) probe.Dispose();
    }

    private async Task<HashSet<string>> AskAllAsync(HashSet<string> wanted)
    {
        _sourcePort++;
        var seen = new HashSet<string>();
        Drain(seen);
        seen.Clear();
        // What must not come through is sent first: by the time everything else has arrived, it would have.
        foreach (var isWanted in (bool[])[false, true])
        {
            foreach (var way in All().Where(way => wanted.Contains(Text(way)) == isWanted))
                _pods.Find(pod => pod.Info == way.From).Probe.Send(way.From.Addresses[way.Family], way.To.Addresses[way.Family], way.Protocol, _sourcePort, way.Port);
            Drain(seen);
        }
        for (var watch = Stopwatch.StartNew(); !wanted.IsSubsetOf(seen) && watch.Elapsed < s_patience;)
        {
            await Task.Delay(s_pause);
            Drain(seen);
        }
        await Task.Delay(s_pause);
        Drain(seen);
        return seen;
    }

    private void Drain(HashSet<string> seen)
    {
        foreach (var (to, probe) in _pods)
        {
            foreach (var packet in probe.Drain())
            {
                if (packet.SourcePort != _sourcePort || !s_ports.Contains(packet.Port) || !_byAddress.TryGetValue(packet.From, out var from)) continue;
                seen.Add(Text((from, to, packet.From.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? 1 : 0, packet.Protocol, packet.Port)));
            }
        }
    }

    private IEnumerable<(PolicyJudge.Pod From, PolicyJudge.Pod To, int Family, byte Protocol, ushort Port)> All() =>
        from source in _pods
        from target in _pods
        from family in Enumerable.Range(0, source.Info.Addresses.Count)
        from protocol in PacketProbe.Protocols
        from port in s_ports
        select (source.Info, target.Info, family, protocol, port);

    private static string Text((PolicyJudge.Pod From, PolicyJudge.Pod To, int Family, byte Protocol, ushort Port) way) =>
        $"{way.From.Key}>{way.To.Key}/{PacketProbe.NameOf(way.Protocol)}{(way.Family == 0 ? 4 : 6)}:{way.Port}";
}
