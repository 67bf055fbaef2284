namespace K3sFast.AddOns.Dns;

/// <summary>
/// Where on the node a port of the Corefile is. Corefiles are written for a pod, which has all ports to itself; the node's usual ones are
/// others' (its own resolver at 53, anybody's web server at 8080).
/// </summary>
internal static class NodePorts
{
    /// <summary>The node's port: 53, 8080 (health) and 8181 (ready) move to <paramref name="dnsPort"/> and the two behind it; all others stay.</summary>
    internal static int Map(int port, int dnsPort) => port switch { 53 => dnsPort, 8080 => dnsPort + 1, 8181 => dnsPort + 2, _ => port };
}
