namespace K3sFast.ApiServer.Tests;

public sealed class SmokeTests(TestServer server)
{
    [Fact]
    public async Task Namespaces_ListedAfterStart_AreThoseOfANewCluster()
    {
        var answer = await server.GetAsync("/api/v1/namespaces");
        Assert.True(answer.Code == 200, answer.Text);
        var names = answer.Json["items"]!.AsArray().Select(static i => (string)i!["metadata"]!["name"]!).ToList();
        Assert.Contains("default", names);
        Assert.Contains("kube-system", names);
        Assert.Contains("kube-public", names);
        Assert.Contains("kube-node-lease", names);
    }
}
