using K3sFast.Client;
using k8s.Models;

namespace K3sFast.ApiServer.Tests;

public sealed class InProcessTests(TestServer server)
{
    [Fact]
    public async Task Client_InProcess_WritesReadsAndIsRefusedAsOverTheWire()
    {
        var ns = await server.NamespaceAsync();
        var client = new ApiClient(server.Server.InProcess(UserInfo.Admin));
        var made = await client.CreateAsync(K3sFast.Client.Resources.ConfigMaps, new V1ConfigMap { Metadata = new V1ObjectMeta { Name = "a", NamespaceProperty = ns } }, TestContext.Current.CancellationToken);
        Assert.NotEmpty(made.Metadata.ResourceVersion);
        var missing = await Assert.ThrowsAsync<ApiException>(async () => await client.GetAsync(K3sFast.Client.Resources.ConfigMaps, ns, "b", TestContext.Current.CancellationToken));
        Assert.True(missing.IsNotFound);

        var nobody = server.Server.InProcess(new UserInfo("nobody", [UserInfo.AuthenticatedGroup]));
        var refused = await Assert.ThrowsAsync<ApiException>(async () => await nobody.ListAsync("/api/v1/pods", TestContext.Current.CancellationToken));
        Assert.Equal(403, refused.Code);
    }

    [Fact]
    public async Task Watch_InProcess_FollowsAListWithoutAGap()
    {
        var ns = await server.NamespaceAsync();
        var transport = server.Server.InProcess(UserInfo.Admin);
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        var list = await transport.ListAsync(path, TestContext.Current.CancellationToken);
        await server.CreateAsync(path, """{"metadata":{"name":"a"}}""");
        await server.SendAsync(HttpMethod.Delete, $"{path}/a");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(90));
        var seen = new List<string>();
        await foreach (var frame in transport.WatchAsync($"{path}?watch=true&resourceVersion={list.ResourceVersion}", limit.Token))
        {
            seen.Add($"{frame.Type} {frame.Object.Decode(K3sFast.Client.Resources.ConfigMaps.Type).Metadata.Name}");
            if (seen.Count == 2)
                break;
        }
        Assert.Equal(["Added a", "Deleted a"], seen);
    }
}
