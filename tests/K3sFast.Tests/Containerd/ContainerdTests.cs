using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using K3sFast.Configuration;
using K3sFast.Containerd;
using K3sFast.Interop.Cgroups;
using K3sFast.Interop.Processes;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Tests.Containerd;

/// <summary>Against a real containerd in directories of its own.</summary>
public sealed class ContainerdTests : IAsyncLifetime
{
    private readonly TemporaryFolder _folder = new();
    private readonly CancellationTokenSource _deadline = new(TimeSpan.FromSeconds(240));
    private NodePaths _paths = null!;
    private ContainerdSupervisor _supervisor = null!;

    private CancellationToken Deadline => _deadline.Token;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "containerd needs root");
        Assert.SkipUnless(File.Exists("/usr/bin/containerd"), "containerd is not installed");
        _paths = new(Path.Combine(_folder.Path, "data"), Path.Combine(_folder.Path, "run"), Path.Combine(_folder.Path, "kubelet"), Path.Combine(_folder.Path, "pods"));
        _paths.CreateDirectories();
        _supervisor = new(Options(), NullLogger.Instance);
        await _supervisor.StartAsync(Deadline);
    }

    public async ValueTask DisposeAsync()
    {
        _supervisor?.Dispose();
        if (_paths is not null && ContainerdProcess.ReadPidFile(_paths.ContainerdPid) is { } process)
            await process.StopAsync(CancellationToken.None);
        if (_paths is not null)
            new CgroupTree().TryRemove(ContainerdSupervisor.ContainerdCgroup(_paths));
        _deadline.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task Start_OurConfig_LoadsCri()
    {
        var log = await File.ReadAllTextAsync(_paths.ContainerdLog, Deadline);
        Assert.Contains("containerd successfully booted", log, StringComparison.Ordinal);
        Assert.DoesNotContain("failed to load plugin io.containerd.grpc.v1.cri", log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Start_ContainerdOfLastLife_IsAdopted()
    {
        var pid = _supervisor.Pid;
        using var next = new ContainerdSupervisor(Options(), NullLogger.Instance);
        await next.StartAsync(Deadline);
        Assert.Equal(pid, next.Pid);

        // Without its pid file it is recognized by its socket, but not by its configuration: replaced.
        File.Delete(_paths.ContainerdPid);
        using var third = new ContainerdSupervisor(Options(), NullLogger.Instance);
        await third.StartAsync(Deadline);
        Assert.NotEqual(pid, third.Pid);
        Assert.Null(ContainerdProcess.FindListener(Path.Combine(_folder.Path, "nothing.sock")));
        Assert.Equal(third.Pid, ContainerdProcess.FindListener(_paths.ContainerdSocket)!.Pid);
    }

    [Fact]
    public async Task Start_ChangedConfig_ReplacesContainerd()
    {
        var pid = _supervisor.Pid;
        using var next = new ContainerdSupervisor(Options() with { PauseImage = "example.com/pause:9" }, NullLogger.Instance);
        await next.StartAsync(Deadline);
        Assert.NotEqual(pid, next.Pid);
        ChildProcess.TryReap(pid);
        Assert.False(Directory.Exists($"/proc/{pid}"));
    }

    [Fact]
    public async Task Run_ContainerdKilled_IsStartedAgain()
    {
        var pid = _supervisor.Pid;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Deadline);
        var running = _supervisor.RunAsync(stop.Token);
        ChildProcess.Signal(pid, 9);
        while (_supervisor.Pid == pid || await _supervisor.Connection.TryVersionAsync(TimeSpan.FromSeconds(1), Deadline) is null)
            await Task.Delay(20, Deadline);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task Import_PauseTwice_IsOneManagedImage()
    {
        var importer = new ImageImporter(_supervisor.Connection, _paths.Images, NullLogger.Instance);
        await importer.ImportPauseAsync(Deadline);
        await importer.ImportPauseAsync(Deadline);
        var image = Assert.Single((await ImagesAsync()));
        Assert.Equal(PauseImage.Name, image.Key);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Import_DockerArchive_AppearsUnderFullNameAndIsSkippedNextTime(bool isGzip)
    {
        var archive = DockerArchive("hello:1");
        await File.WriteAllBytesAsync(Path.Combine(_paths.Images, "hello.tar"), isGzip ? Gzip(archive) : archive, Deadline);
        var importer = new ImageImporter(_supervisor.Connection, _paths.Images, NullLogger.Instance);
        await importer.ImportAllAsync(Deadline);
        var image = Assert.Single(await ImagesAsync());
        Assert.Equal("docker.io/library/hello:1", image.Key);

        var cache = File.GetLastWriteTimeUtc(Path.Combine(_paths.Images, ".cache.json"));
        await importer.ImportAllAsync(Deadline);
        Assert.Equal(cache, File.GetLastWriteTimeUtc(Path.Combine(_paths.Images, ".cache.json")));
    }

    [Fact]
    public async Task Import_OciLayout_KeepsDigest()
    {
        var (archive, digest) = OciArchive("registry.example/app:2");
        await File.WriteAllBytesAsync(Path.Combine(_paths.Images, "app.tar"), archive, Deadline);
        await new ImageImporter(_supervisor.Connection, _paths.Images, NullLogger.Instance).ImportAllAsync(Deadline);
        var image = Assert.Single(await ImagesAsync());
        Assert.Equal("registry.example/app:2", image.Key);
        Assert.Equal(digest, image.Value);
    }

    [Fact]
    public async Task Run_ArchiveAppearsLater_IsImportedAndDamagedOneIsPassedOver()
    {
        await File.WriteAllTextAsync(Path.Combine(_paths.Images, "a-damaged.tar"), new string('x', 4096), Deadline);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Deadline);
        var running = new ImageImporter(_supervisor.Connection, _paths.Images, NullLogger.Instance).RunAsync(stop.Token);
        await File.WriteAllBytesAsync(Path.Combine(_paths.Images, "later.tar"), DockerArchive("later:1"), Deadline);
        while (!(await ImagesAsync()).ContainsKey("docker.io/library/later:1"))
            await Task.Delay(20, Deadline);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    private ContainerdOptions Options()
    {
        var (containerd, search) = ContainerdSupervisor.FindPrograms(Environment.GetEnvironmentVariable("PATH"));
        return new() { Paths = _paths, PauseImage = PauseImage.Name, ContainerdPath = containerd, SearchPath = search, RestrictOomScore = true };
    }

    private async Task<Dictionary<string, string>> ImagesAsync()
    {
        var reply = await _supervisor.Connection.Images.ListAsync(new(), ContainerdConnection.Headers(), cancellationToken: Deadline);
        // CRI adds names by config digest beside the ones that were asked for.
        return reply.Images.Where(static image => !image.Name.StartsWith("sha256:", StringComparison.Ordinal)).ToDictionary(static image => image.Name, static image => image.Target.Digest);
    }

    private static byte[] DockerArchive(string tag)
    {
        var (layer, config) = PauseImage.Build();
        return Tar(("layer.tar", layer), ("config.json", config),
            ("manifest.json", Encoding.UTF8.GetBytes($$"""[{"Config":"config.json","RepoTags":["{{tag}}"],"Layers":["layer.tar"]}]""")));
    }

    private static (byte[] Archive, string Digest) OciArchive(string name)
    {
        var (layer, config) = PauseImage.Build();
        var manifest = ImageManifests.WriteDocker(new(Digest(config), config.Length, false), [new(Digest(layer), layer.Length, false)]);
        var index = $$"""{"schemaVersion":2,"manifests":[{"mediaType":"{{ImageManifests.DockerManifest}}","digest":"{{Digest(manifest)}}","size":{{manifest.Length}},"annotations":{"io.containerd.image.name":"{{name}}"} } ] }""";
        return (Tar(("oci-layout", """{"imageLayoutVersion":"1.0.0"}"""u8.ToArray()), ("index.json", Encoding.UTF8.GetBytes(index)),
            (PathOf(manifest), manifest), (PathOf(config), config), (PathOf(layer), layer)), Digest(manifest));
    }

    private static string Digest(byte[] content) => "sha256:" + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(content));

    private static string PathOf(byte[] content) => "blobs/" + Digest(content).Replace(':', '/');

    private static byte[] Tar(params (string Name, byte[] Content)[] files)
    {
        using var buffer = new MemoryStream();
        using (var tar = new TarWriter(buffer, TarEntryFormat.Pax, leaveOpen: true))
        {
            foreach (var (name, content) in files)
                tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(content) });
        }
        return buffer.ToArray();
    }

    private static byte[] Gzip(byte[] content)
    {
        using var buffer = new MemoryStream();
        using (var gzip = new GZipStream(buffer, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(content);
        return buffer.ToArray();
    }
}
