using System.Net;
using K3sFast.Interop.NfTables;
using K3sFast.Network.Policy;
using K3sFast.Network.Proxy;
using k8s.Models;

namespace K3sFast.Network.Tests.Policy;

/// <summary>What a change of policies costs: counted, not timed.</summary>
public sealed class PolicyStateTests
{
    private const int Policies = 1000, Pods = 500;

    [Fact]
    public void Change_AmongAThousandPolicies_ConcernsWhatItTouches()
    {
        if (!Environment.IsPrivilegedProcess) Assert.Skip("needs root: opens a netfilter socket");
        var state = new PolicyState(hasOwnLinks: true);
        var steps = new PacketSteps(NftFamily.IPv4);
        using var table = new NftTable(NftFamily.IPv4, PolicyRules.TableName);
        int Encode(IReadOnlyCollection<string> owners) => table.Encode([.. owners.Select(owner => KeyValuePair.Create(owner, state.Build(owner, steps)))]);

        state.SetNamespace("ns", new Dictionary<string, string>());
        for (var i = 0; i < Pods; i++) state.SetPod($"ns/p{i}", Pod(i, "old"));
        for (var i = 0; i < Policies; i++) state.SetPolicy($"ns/n{i}", Policy(i));
        var whole = Encode(state.TakeDirty());

        // A pod that changes a label that one policy's peers are picked by.
        state.SetPod("ns/p7", Pod(7, "peer-42"));
        var owners = state.TakeDirty();
        Assert.InRange(owners.Count, 1, 3);
        var change = Encode(owners);
        Assert.InRange(change, 1, 2048);
        Assert.True(whole > 100 * change, $"{whole} bytes for all, {change} for a change");

        // A policy that changes its port.
        state.SetPolicy("ns/n3", Policy(3, port: 81));
        owners = state.TakeDirty();
        Assert.Contains("policy/ns/n3", owners);
        Assert.InRange(Encode(owners), 1, 2048);

        // What looks the same is no change.
        state.SetPod("ns/p9", Pod(9, "old"));
        Assert.Empty(state.TakeDirty());
    }

    [Fact]
    public void Policies_AllGone_LeaveTheBaseAlone()
    {
        var state = new PolicyState(hasOwnLinks: true);
        var steps = new PacketSteps(NftFamily.IPv4);
        state.SetNamespace("ns", new Dictionary<string, string>());
        for (var i = 0; i < 20; i++) state.SetPod($"ns/p{i}", Pod(i, "old"));
        for (var i = 0; i < 20; i++) state.SetPolicy($"ns/n{i}", Policy(i));
        var before = state.TakeDirty();
        for (var i = 0; i < 20; i++) state.SetPolicy($"ns/n{i}", null);
        var owners = before.Concat(state.TakeDirty()).Distinct();
        Assert.All(owners.Where(static owner => owner.Length > 0 && !owner.StartsWith("pod/", StringComparison.Ordinal)), owner => Assert.Null(state.Build(owner, steps)));
        Assert.Null(state.Build("pod/ns/p1", steps));
    }

    private static PolicyPod Pod(int i, string role) =>
        new("ns", $"p{i}", new Dictionary<string, string> { ["pod"] = $"p{i}", ["role"] = role }, [new IPAddress([10, 42, (byte)(i >> 8), (byte)i])], IsLocal: i < 110, []);

    private static PolicySpec Policy(int i, int port = 80) => PolicySpec.Of(new V1NetworkPolicy
    {
        Metadata = new V1ObjectMeta { Name = $"n{i}", NamespaceProperty = "ns" },
        Spec = new V1NetworkPolicySpec
        {
            PodSelector = new V1LabelSelector { MatchLabels = new Dictionary<string, string> { ["pod"] = $"p{i}" } },
            Ingress =
            [
                new V1NetworkPolicyIngressRule
                {
                    FromProperty = [new V1NetworkPolicyPeer { PodSelector = new V1LabelSelector { MatchLabels = new Dictionary<string, string> { ["role"] = $"peer-{i}" } } }],
                    Ports = [new V1NetworkPolicyPort { Port = port.ToString(System.Globalization.CultureInfo.InvariantCulture) }],
                },
            ],
        },
    });
}
