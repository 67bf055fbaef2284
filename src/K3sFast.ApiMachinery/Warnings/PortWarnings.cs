using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Ports of a pod's containers that are defined twice, or nearly so.</summary>
internal static class PortWarnings
{
    // Who repeats a port more often than this has been told.
    private const int MaxCompared = 64;

    private readonly record struct Block(ApiNode Port, string Path);

    internal static void Of(ref WarningList warnings, string path, ApiNode spec)
    {
        List<Block>? ports = null;
        foreach (string list in (ReadOnlySpan<string>)["initContainers", "containers", "ephemeralContainers"])
        {
            int i = 0;
            foreach (var container in spec[Encoding.ASCII.GetBytes(list)].Elements)
            {
                int p = 0;
                foreach (var port in container["ports"u8].Elements)
                    (ports ??= []).Add(new Block(port, $"{path}{list}[{i}].ports[{p++}]"));
                i++;
            }
        }
        if (ports is null)
            return;
        // Only ports of one number and protocol meet; of each such group, and of each name, those that came before are looked through.
        var groups = new Dictionary<(long, string), List<int>>();
        for (int i = 0; i < ports.Count; i++)
        {
            var key = (ports[i].Port["containerPort"u8].AsInt64(), ports[i].Port["protocol"u8].AsString());
            if (!groups.TryGetValue(key, out var earlier))
                groups[key] = earlier = [];
            if (earlier.Count < MaxCompared)
                One(ref warnings, ports, i, earlier);
            earlier.Add(i);
        }
        var names = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int i = 0; i < ports.Count; i++)
        {
            var name = ports[i].Port["name"u8];
            if (name.Utf8.IsEmpty || names.TryAdd(name.AsString(), i))
                continue;
            var first = ports[names[name.AsString()]].Path;
            warnings.Add($"{ports[i].Path}: duplicate port name {GoText.Quote(name.Utf8)} with {first}, services and probes that select ports by name will use {first}");
        }
    }

    private static void One(ref WarningList warnings, List<Block> ports, int index, List<int> earlier)
    {
        var (port, path) = ports[index];
        var hostIP = port["hostIP"u8];
        long hostPort = port["hostPort"u8].AsInt64(), number = port["containerPort"u8].AsInt64();
        if (!hostIP.Utf8.IsEmpty && hostPort == 0)
            warnings.Add($"{path}: hostIP set without hostPort: {{Name:{port["name"u8].AsString()} HostPort:0 ContainerPort:{number} Protocol:{port["protocol"u8].AsString()} HostIP:{hostIP.AsString()}}}");
        foreach (int i in earlier)
        {
            var (other, otherPath) = ports[i];
            var otherIP = other["hostIP"u8];
            long otherHostPort = other["hostPort"u8].AsInt64();
            if (otherIP.Utf8.SequenceEqual(hostIP.Utf8) && otherHostPort == hostPort)
                warnings.Add($"{path}: duplicate port definition with {otherPath}");
            else if (hostPort == 0 || otherHostPort == 0)
                warnings.Add($"{path}: overlapping port definition with {otherPath}");
            else if (hostPort == otherHostPort && hostIP.Utf8.IsEmpty != otherIP.Utf8.IsEmpty)
                warnings.Add($"{path}: dangerously ambiguous port definition with {otherPath}");
        }
    }
}
