using K3sFast.Kubelet.Volumes;

namespace K3sFast.Kubelet.Tests.Volumes;

public sealed class AtomicWriterTests : IDisposable
{
    private readonly string _target = Directory.CreateTempSubdirectory("kubelet-aw-").FullName;

    public void Dispose() => Directory.Delete(_target, recursive: true);

    [Fact]
    public void Write_NewContent_SwapsLinkAndLeavesOneVersion()
    {
        Assert.True(Write(("a", "1"), ("dir/b", "2")));
        var first = new FileInfo(Path.Combine(_target, "..data")).LinkTarget;
        Assert.True(Write(("a", "new"), ("dir/b", "2")));

        Assert.Equal("new", File.ReadAllText(Path.Combine(_target, "a")));
        Assert.Equal("2", File.ReadAllText(Path.Combine(_target, "dir", "b")));
        Assert.NotEqual(first, new FileInfo(Path.Combine(_target, "..data")).LinkTarget);
        Assert.False(Directory.Exists(Path.Combine(_target, first!)));
        Assert.Equal("..data/dir", new FileInfo(Path.Combine(_target, "dir")).LinkTarget);
    }

    [Fact]
    public void Write_SameContent_ChangesNothing()
    {
        Write(("a", "1"));
        var before = new FileInfo(Path.Combine(_target, "..data")).LinkTarget;
        Assert.False(Write(("a", "1")));
        Assert.Equal(before, new FileInfo(Path.Combine(_target, "..data")).LinkTarget);
    }

    [Fact]
    public void Write_FileGone_LinkIsGone()
    {
        Write(("a", "1"), ("b", "2"));
        Write(("b", "2"));
        Assert.False(Path.Exists(Path.Combine(_target, "a")));
        Assert.True(File.Exists(Path.Combine(_target, "b")));
    }

    [Fact]
    public void Write_Mode_IsTheFilesMode()
    {
        AtomicWriter.Write(_target, new Dictionary<string, PayloadFile> { ["a"] = new("x"u8.ToArray(), 0x100) }, null, DateTimeOffset.UtcNow);
        Assert.Equal(UnixFileMode.UserRead, File.GetUnixFileMode(Path.Combine(_target, "..data", "a")));
    }

    [Theory]
    [InlineData("../x")]
    [InlineData("/x")]
    [InlineData("a/../b")]
    [InlineData("..x")]
    [InlineData("")]
    public void Write_PathLeavesTarget_IsRefused(string path) => Assert.Throws<IOException>(() => Write((path, "1")));

    private bool Write(params (string Path, string Text)[] files) => AtomicWriter.Write(
        _target, files.ToDictionary(file => file.Path, file => new PayloadFile(System.Text.Encoding.UTF8.GetBytes(file.Text), 0x1A4)), null, DateTimeOffset.UtcNow);
}
