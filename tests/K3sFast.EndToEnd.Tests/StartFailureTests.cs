namespace K3sFast.EndToEnd.Tests;

/// <summary>A server that cannot start says why in one line, what to do, and harms nothing that is stored.</summary>
public sealed class StartFailureTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("k3sfast-bad-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task UnknownFlag_IsNamed()
    {
        var result = await Shell.RunAsync([ServerNode.Binary, "server", "--no-such-flag"]);
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("no-such-flag", result.Output + result.Error);
    }

    [Fact]
    public async Task CorruptDatabase_IsNamedAndLeftAlone()
    {
        var db = Path.Combine(_folder, "server", "db");
        Directory.CreateDirectory(db);
        var file = Path.Combine(db, "state.db");
        var garbage = new byte[8192];
        new Random(1).NextBytes(garbage);
        await File.WriteAllBytesAsync(file, garbage);
        var result = await StartAsync();
        Assert.Contains(file, result.Error);
        Assert.Contains("level=fatal", result.Error);
        Assert.Equal(garbage, await File.ReadAllBytesAsync(file));
    }

    [Fact]
    public async Task UnwritableDataDir_IsNamed()
    {
        // Even root cannot make a folder below a file.
        var file = Path.Combine(_folder, "file");
        await File.WriteAllTextAsync(file, "");
        var result = await StartAsync(dataDir: Path.Combine(file, "data"));
        Assert.Contains(file, result.Error);
        Assert.Contains("level=fatal", result.Error);
    }

    [Fact]
    public async Task MissingContainerd_SaysWhatToInstall()
    {
        var result = await StartAsync(environment: $"PATH={_folder}");
        Assert.Contains("containerd", result.Error);
        Assert.Contains("level=fatal", result.Error);
    }

    [Fact]
    public async Task UsedPort_IsNamed()
    {
        using var taken = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Any, 0);
        taken.Start();
        var port = ((System.Net.IPEndPoint)taken.LocalEndpoint).Port;
        var result = await StartAsync(arguments: ["--https-listen-port", $"{port}"]);
        Assert.Contains($"{port}", result.Error);
        Assert.Contains("level=fatal", result.Error);
    }

    private async Task<CommandResult> StartAsync(string? dataDir = null, string environment = "LC_ALL=C", params string[] arguments)
    {
        var result = await Shell.RunAsync(
            [
                "/usr/bin/env", environment, ServerNode.Binary, "server", "--data-dir", dataDir ?? _folder,
                "--write-kubeconfig", Path.Combine(_folder, "k3s.yaml"), "--config", Empty(), .. arguments,
            ],
            timeout: TimeSpan.FromSeconds(120));
        Assert.Equal(1, result.ExitCode);
        // Nothing that the start began is left running.
        var left = await Shell.RunAsync(["pgrep", "-f", $"containerd --config {dataDir ?? _folder}/"]);
        Assert.Equal("", left.Output);
        return result;
    }

    private string Empty()
    {
        var file = Path.Combine(_folder, "config.yaml");
        File.WriteAllText(file, "");
        return file;
    }
}
