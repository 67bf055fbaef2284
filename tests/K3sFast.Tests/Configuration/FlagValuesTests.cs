using K3sFast.Configuration;

namespace K3sFast.Tests.Configuration;

public sealed class FlagValuesTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Load_FlagInAllPlaces_CommandLineWins()
    {
        var config = _folder.File("config.yaml", "data-dir: /from-config\nhttps-listen-port: 7000\n");
        var flags = Load(["--data-dir", "/from-cli", "-c", config], ("K3S_DATA_DIR", "/from-env"), ("K3S_NODE_NAME", "env-name"));
        Assert.Equal("/from-cli", flags.Text("data-dir"));
        Assert.Equal("7000", flags.Text("https-listen-port"));
        Assert.Equal("env-name", flags.Text("node-name"));
        Assert.Equal("10.42.0.0/16", flags.Text("cluster-cidr"));
    }

    [Fact]
    public void Load_ConfigAndEnvironment_ConfigWins()
    {
        var config = _folder.File("config.yaml", "data-dir: /from-config\n");
        Assert.Equal("/from-config", Load([], ("K3S_DATA_DIR", "/from-env"), ("K3S_CONFIG_FILE", config)).Text("data-dir"));
    }

    [Fact]
    public void Load_DropIns_LastFileWinsAndPlusAppends()
    {
        var config = _folder.File("config.yaml", "tls-san:\n  - one\nnode-label: a=1\nv: 1\n");
        _folder.File("config.yaml.d/10.yaml", "tls-san+:\n- two\nnode-label: b=2\nv: 2\n");
        _folder.File("config.yaml.d/20.yml", "tls-san+: three\n");
        _folder.File("config.yaml.d/30.txt", "v: 3\n");
        var flags = Load(["--config=" + config]);
        Assert.Equal(["one", "two", "three"], flags.Many("tls-san"));
        Assert.Equal(["b=2"], flags.Many("node-label"));
        Assert.Equal("2", flags.Text("v"));
    }

    [Fact]
    public void Load_LaterFileWithoutPlus_Replaces()
    {
        var config = _folder.File("config.yaml", "tls-san: [one]\n");
        _folder.File("config.yaml.d/10.yaml", "tls-san+: [two]\n");
        _folder.File("config.yaml.d/20.yaml", "tls-san: [three]\n");
        Assert.Equal(["three"], Load(["-c", config]).Many("tls-san"));
    }

    [Fact]
    public void Load_ListOnCommandLine_ReplacesConfigWhole()
    {
        var config = _folder.File("config.yaml", "node-label: [a=1, b=2]\n");
        Assert.Equal(["c=3", "d=4"], Load(["-c", config, "--node-label", "c=3", "--node-label=d=4"]).Many("node-label"));
    }

    [Fact]
    public void Load_UnknownConfigKey_WarnsAndSkips()
    {
        var config = _folder.File("config.yaml", "no-such-key: 1\n");
        Assert.Contains("--no-such-key", Assert.Single(Load(["-c", config]).Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void Load_KnownButNotYet_WarnsOnce()
    {
        var warning = Assert.Single(Load(["--selinux", "--selinux"]).Warnings);
        Assert.Equal("flag --selinux is known to k3s but does nothing yet in k3sfast", warning);
        Assert.Empty(Load(["--selinux=false", "--flannel-backend=vxlan"]).Warnings);
    }

    [Theory]
    [InlineData("flag provided but not defined: -nope", "--nope")]
    [InlineData("flag needs an argument: -token", "--token")]
    [InlineData("invalid boolean value \"maybe\" for flag -debug: parse error", "--debug=maybe")]
    [InlineData("invalid value \"x\" for flag -https-listen-port: parse error", "--https-listen-port", "x")]
    [InlineData("unexpected argument: stray", "stray")]
    [InlineData("stat /nonexistent/config.yaml: no such file or directory", "-c", "/nonexistent/config.yaml")]
    public void Load_BadArguments_SaysWhat(string message, params string[] arguments) =>
        Assert.Equal(message, Assert.Throws<ConfigurationException>(() => Load(arguments)).Message);

    [Theory]
    [InlineData("--server=https://other:6443")]
    [InlineData("--secrets-encryption")]
    [InlineData("--cluster-init")]
    public void Load_UnsafeToIgnore_Refuses(string flag) => Assert.Throws<ConfigurationException>(() => Load([flag]));

    [Fact]
    public void Load_BrokenYaml_NamesFileAndLine()
    {
        var config = _folder.File("config.yaml", "token: x\nnode-label: [a\n");
        var message = Assert.Throws<ConfigurationException>(() => Load(["-c", config])).Message;
        Assert.StartsWith($"failed to read {config}: yaml: line ", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_OldName_FollowsAndWarns()
    {
        var flags = Load(["--no-deploy", "traefik"]);
        Assert.Equal(["traefik"], flags.Many("disable"));
        Assert.Single(flags.Warnings);
    }

    [Fact]
    public void ServerConfig_Defaults_AreK3s()
    {
        var config = ServerConfig.From(Load(["--node-ip=192.0.2.7", "--node-name=One"]));
        Assert.Equal("one", config.NodeName);
        Assert.Equal("10.43.0.1", config.ApiServiceAddress.ToString());
        Assert.Equal("10.43.0.10", config.ClusterDns[0].ToString());
        Assert.Equal("192.0.2.7", config.AdvertiseAddress.ToString());
        Assert.Equal((30000, 32767), (config.NodePortFirst, config.NodePortLast));
        Assert.Equal("/run/k3s/containerd/containerd.sock", config.Paths.ContainerdSocket);
        Assert.Equal("/var/lib/rancher/k3s/server/db/state.db", config.Datastore.SqlitePath);
        Assert.Equal("/var/lib/kubelet", config.Paths.KubeletRoot);
    }

    [Fact]
    public void ServerConfig_MovedDataDir_MovesRunDir()
    {
        var config = ServerConfig.From(Load(["--node-ip=192.0.2.7", "-d", "/tmp/x", "--kubelet-arg=root-dir=/tmp/k"]));
        Assert.Matches("^/run/k3s-[0-9a-f]{8}/containerd/containerd.sock$", config.Paths.ContainerdSocket);
        Assert.Equal("/tmp/k", config.Paths.KubeletRoot);
    }

    private static FlagValues Load(string[] arguments, params (string Name, string Value)[] environment)
    {
        var variables = environment.ToDictionary(static pair => pair.Name, static pair => pair.Value);
        // The machine's own config file must not leak into tests.
        variables.TryAdd("K3S_CONFIG_FILE", Array.Exists(arguments, static a => a.StartsWith("-c", StringComparison.Ordinal) || a.StartsWith("--config", StringComparison.Ordinal)) ? "" : EmptyFile);
        return FlagValues.Load(arguments, variables.GetValueOrDefault);
    }

    private static string EmptyFile { get; } = "/dev/null";
}
