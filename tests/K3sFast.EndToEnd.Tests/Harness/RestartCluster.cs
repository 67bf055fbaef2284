namespace K3sFast.EndToEnd.Tests;

/// <summary>A cluster of one node that its tests may stop and kill.</summary>
public sealed class RestartCluster() : OneNodeCluster("restart1", 21)
{
    /// <summary>A client with the administrator's certificate that speaks to the server directly.</summary>
    internal DirectClient CreateClient() => new(Node.Kubeconfig, Node.Address, Lan.OpenOutside);
}
