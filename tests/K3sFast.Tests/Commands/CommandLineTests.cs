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
    [InlineData("agent")]
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
