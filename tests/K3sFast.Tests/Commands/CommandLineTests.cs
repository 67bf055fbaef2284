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

    [Theory]
    [InlineData("rotate", "not yet in this version")]
    [InlineData("bogus", "No help topic for 'bogus'")]
    [InlineData("list", "failed to read kubeconfig /nonexistent/server/cred/admin.kubeconfig", "--data-dir=/nonexistent")]
    [InlineData("list", "flag provided but not defined: -bogus", "--bogus=1")]
    [InlineData("create", "invalid bootstrap token usage string: x", "--usages=x")]
    [InlineData("create", "bootstrap group \"admins\" is invalid", "--groups=admins")]
    public async Task Token_WhatCannotBe_IsFatalWithAWord(string command, string words, params string[] arguments)
    {
        var (code, _, error) = await RunAsync("k3sfast", ["token", command, .. arguments]);
        Assert.Equal(1, code);
        Assert.Contains("level=fatal", error, StringComparison.Ordinal);
        Assert.Contains(words.Replace("\"", "\\\"", StringComparison.Ordinal), error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Token_Generate_HasUpstreamsForm()
    {
        var (code, output, _) = await RunAsync("k3sfast", "token", "generate");
        Assert.Equal(0, code);
        Assert.Matches(@"\A[a-z0-9]{6}\.[a-z0-9]{16}\n\z", output);
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
