using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Ports of a pod's containers that are defined twice, or nearly so.</summary>
internal static class PortWarnings
{
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
        for (int i = 0; i < ports.Count; i++)
            One(ref warnings, ports, i);
        for (int i = 1; i < ports.Count; i++)
        {
            var name = ports[i].Port["name"u8];
            for (int j = 0; j < i && !name.Utf8.IsEmpty; j++)
            {
                if (!ports[j].Port["name"u8].Equals(name.Utf8))
                    continue;
                warnings.Add($"{ports[i].Path}: duplicate port name {GoText.Quote(name.Utf8)} with {ports[j].Path}, services and probes that select ports by name will use {ports[j].Path}");
                break;
            }
        }
    }

    private static void One(ref WarningList warnings, List<Block> ports, int index)
    {
        var (port, path) = ports[index];
        var hostIP = port["hostIP"u8];
        long hostPort = port["hostPort"u8].AsInt64(), number = port["containerPort"u8].AsInt64();
        if (!hostIP.Utf8.IsEmpty && hostPort == 0)
            warnings.Add($"{path}: hostIP set without hostPort: {{Name:{port["name"u8].AsString()} HostPort:0 ContainerPort:{number} Protocol:{port["protocol"u8].AsString()} HostIP:{hostIP.AsString()}}}");
        for (int i = 0; i < index; i++)
        {
            var (other, otherPath) = ports[i];
            if (other["containerPort"u8].AsInt64() != number || !other["protocol"u8].Utf8.SequenceEqual(port["protocol"u8].Utf8))
                continue;
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
