using K3sFast.Commands;

namespace K3sFast.Tests.Commands;

public sealed class CommandLineTests
{
    [Theory]
    [InlineData("--version")]
    [InlineData("version")]
    public async Task Run_Version_PrintsK3sForm(string word)
    {
        var (code, output, _) = await RunAsync("k3sfast", word);
        Assert.Equal(0, code);
        Assert.Matches(@"^k3sfast version v\d+\.\d+\.\d+\+k3sfast\d+\n", output);
    }

    [Theory]
    [InlineData("token")]
    [InlineData("etcd-snapshot")]
    [InlineData("secrets-encrypt")]
    [InlineData("certificate")]
    public async Task Run_LaterCommand_RefusesLoudly(string word)
    {
        var (code, _, error) = await RunAsync("k3sfast", word, "list");
        Assert.Equal(1, code);
        Assert.Contains("level=fatal", error, StringComparison.Ordinal);
        Assert.Contains("not yet in this version", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Server_Help_ListsFlagsAndMarksWhatIsMissing()
    {
        var (code, output, _) = await RunAsync("k3sfast", "server", "--help");
        Assert.Equal(0, code);
        Assert.Contains("--data-dir, -d value", output, StringComparison.Ordinal);
        Assert.Contains("Run rootless (not yet in this version)", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--server is required", "--token=x")]
    [InlineData("--token is required", "--server=https://192.0.2.1:6443")]
    [InlineData("only https:// URLs are supported", "--token=x", "--server=http://192.0.2.1:6443")]
    [InlineData("flag provided but not defined: -cluster-cidr", "--cluster-cidr=10.0.0.0/8")]
    public async Task Agent_WithoutWhatItNeeds_SaysWhat(string words, params string[] arguments)
    {
        var (code, _, error) = await RunAsync("k3sfast", ["agent", "--node-ip=192.0.2.9", .. arguments]);
        Assert.Equal(1, code);
        Assert.Contains("level=fatal", error, StringComparison.Ordinal);
        Assert.Contains(words, error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Agent_Help_ListsItsFlagsAndNotTheServers()
    {
        var (code, output, _) = await RunAsync("k3sfast", "agent", "--help");
        Assert.Equal(0, code);
        Assert.Contains("--server, -s value", output, StringComparison.Ordinal);
        Assert.DoesNotContain("--cluster-cidr", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Server_UnknownFlag_IsFatal()
    {
        var (code, _, error) = await RunAsync("k3sfast", "server", "--bogus");
        Assert.Equal(1, code);
        Assert.Contains("level=fatal msg=\"flag provided but not defined: -bogus\"", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_CalledAsTool_IsThatTool()
    {
        var (code, _, error) = await RunAsync("crictl", "ps");
        Assert.Equal(1, code);
        Assert.Contains("crictl is not installed", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Passthrough_Defaults_PointAtThisNodeUnlessTold()
    {
        var environment = new Dictionary<string, string> { ["CONTAINERD_NAMESPACE"] = "mine" };
        Passthrough.AddDefaults("ctr", environment, ["ctr"]);
        Passthrough.AddDefaults("kubectl", environment, ["kubectl"]);
        Assert.Equal("/run/k3s/containerd/containerd.sock", environment["CONTAINERD_ADDRESS"]);
        Assert.Equal("mine", environment["CONTAINERD_NAMESPACE"]);
        Assert.Equal("/etc/rancher/k3s/k3s.yaml", environment["KUBECONFIG"]);
    }

    private static async Task<(int Code, string Output, string Error)> RunAsync(string calledAs, params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        // An empty PATH: no tool is found, so nothing replaces the test process.
        var code = await CommandLine.RunAsync(calledAs, arguments, static name => name == "PATH" ? "/nonexistent" : null, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
