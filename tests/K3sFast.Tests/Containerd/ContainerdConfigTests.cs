using K3sFast.Configuration;
using K3sFast.Containerd;

namespace K3sFast.Tests.Containerd;

public sealed class ContainerdConfigTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Render_Defaults_PointsIntoOurDirectories()
    {
        var text = ContainerdConfig.Render(Options());
        Assert.Contains($"root = \"{_folder.Path}/agent/containerd\"", text, StringComparison.Ordinal);
        Assert.Contains($"address = \"{_folder.Path}/run/containerd/containerd.sock\"", text, StringComparison.Ordinal);
        Assert.Contains("sandbox_image = \"example.com/pause:1\"", text, StringComparison.Ordinal);
        Assert.Contains("restrict_oom_score_adj = true", text, StringComparison.Ordinal);
        Assert.Contains($"config_path = \"{_folder.Path}/agent/etc/containerd/certs.d\"", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Render_ChosenSnapshotter_IsNotDisabled()
    {
        var text = ContainerdConfig.Render(Options() with { Snapshotter = "btrfs" });
        Assert.DoesNotContain("io.containerd.snapshotter.v1.btrfs", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Render_Template_IsUsedLiterallyAroundItsBase()
    {
        _folder.File("agent/etc/containerd/config.toml.tmpl", "{{ template \"base\" . }}\n[debug]\n  level = \"warn\"\n");
        var text = ContainerdConfig.Render(Options());
        Assert.Contains("sandbox_image", text, StringComparison.Ordinal);
        Assert.EndsWith("[debug]\n  level = \"warn\"\n", text, StringComparison.Ordinal);
        _folder.File("agent/etc/containerd/config.toml.tmpl", "{{ .NodeConfig }}");
        Assert.Throws<ConfigurationException>(() => ContainerdConfig.Render(Options()));
    }

    [Theory]
    [InlineData("busybox", "docker.io/library/busybox:latest")]
    [InlineData("busybox:1.36", "docker.io/library/busybox:1.36")]
    [InlineData("rancher/pause:3.6", "docker.io/rancher/pause:3.6")]
    [InlineData("localhost/x", "localhost/x:latest")]
    [InlineData("host:5000/a/b", "host:5000/a/b:latest")]
    [InlineData("ghcr.io/a@sha256:00", "ghcr.io/a@sha256:00")]
    public void Normalize_ShortNames_BecomeFull(string name, string full) => Assert.Equal(full, ImageName.Normalize(name));

    private ContainerdOptions Options() => new()
    {
        Paths = new(_folder.Path, Path.Combine(_folder.Path, "run"), "/k", "/p"),
        PauseImage = "example.com/pause:1",
        RestrictOomScore = true,
    };
}
