using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers.Tests;

public sealed class NamespaceTests
{
    [Fact]
    public async Task Namespace_New_GetsServiceAccountAndRootCa()
    {
        await using var cluster = new TestCluster().Start();
        await cluster.CreateAsync(Resources.Namespaces, Space("team"));
        await cluster.UntilAsync(async () => await cluster.Client.FindAsync(Resources.ServiceAccounts, "team", "default", cluster.Stop) is not null, "account");
        await cluster.UntilAsync(
            async () => (await cluster.Client.FindAsync(Resources.ConfigMaps, "team", "kube-root-ca.crt", cluster.Stop))?.Data["ca.crt"] == "pem", "root CA");
        await cluster.Client.DeleteAsync(Resources.ConfigMaps, "team", "kube-root-ca.crt", cluster.Stop);
        await cluster.UntilAsync(async () => await cluster.Client.FindAsync(Resources.ConfigMaps, "team", "kube-root-ca.crt", cluster.Stop) is not null, "root CA again");
    }

    [Fact]
    public async Task Namespace_Deleted_IsEmptiedPodsFirstAndThenGoes()
    {
        await using var cluster = new TestCluster().Start();
        var space = Space("team");
        // Stands for the API server's keeping of a namespace until it is finalized.
        space.Metadata.Finalizers = ["test/hold"];
        await cluster.CreateAsync(Resources.Namespaces, space);
        var pod = new V1Pod { Metadata = new V1ObjectMeta { Name = "p", NamespaceProperty = "team", Finalizers = ["test/slow"] }, Spec = TestCluster.Template("x").Spec };
        await cluster.CreateAsync(Resources.Pods, pod);
        await cluster.CreateAsync(Resources.ConfigMaps, new V1ConfigMap { Metadata = new V1ObjectMeta { Name = "m", NamespaceProperty = "team" } });

        await cluster.Client.DeleteAsync(Resources.Namespaces, null, "team", cluster.Stop);
        await cluster.UntilAsync(async () => Condition(await cluster.FindAsync(Resources.Namespaces, "team"), "NamespaceContentRemaining")?.Status == "True", "says what remains");
        var now = await cluster.FindAsync(Resources.Namespaces, "team");
        Assert.Equal("Some resources are remaining: pods. has 1 resource instances", Condition(now, "NamespaceContentRemaining")!.Message);
        Assert.Equal(
            "Some content in the namespace has finalizers remaining: test/slow in 1 resource instances", Condition(now, "NamespaceFinalizersRemaining")!.Message);
        Assert.NotNull(await cluster.Client.FindAsync(Resources.ConfigMaps, "team", "m", cluster.Stop));

        await cluster.Client.PatchAsync(Resources.Pods, "team", "p", PatchBody.Merge("""{"metadata":{"finalizers":[]}}"""u8.ToArray()), cluster.Stop);
        await cluster.UntilAsync(async () => await cluster.Client.FindAsync(Resources.ConfigMaps, "team", "m", cluster.Stop) is null, "emptied");
        await cluster.UntilAsync(async () => (await cluster.FindAsync(Resources.Namespaces, "team"))!.Spec.Finalizers is not { Count: > 0 }, "finalized");
    }

    private static V1Namespace Space(string name) => new()
    {
        Metadata = new V1ObjectMeta { Name = name },
        Spec = new V1NamespaceSpec { Finalizers = ["kubernetes"] },
        Status = new V1NamespaceStatus { Phase = "Active" },
    };

    private static V1NamespaceCondition? Condition(V1Namespace? value, string type) =>
        value?.Status.Conditions?.FirstOrDefault(condition => condition.Type == type);
}
