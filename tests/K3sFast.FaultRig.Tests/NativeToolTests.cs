using System.Diagnostics;
using K3sFast.FaultRig.Faults;

namespace K3sFast.FaultRig.Tests;

public sealed class NativeToolTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("k3sfast-native-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Build_ManyAtOnce_EachGetsAWholeProgram()
    {
        // Every test class that mounts a file system asks for it, and classes run side by side.
        string[] built = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() => NativeTool.BuildAsync("faultfs", "faultfs", _directory))));
        string path = Path.Combine(_directory, "faultfs");
        Assert.All(built, each => Assert.Equal(path, each));
        Assert.Equal([path], Directory.GetFiles(_directory));
        // Without a place to mount on it says so and ends; half a program would not run.
        using var program = Process.Start(new ProcessStartInfo(path) { RedirectStandardError = true })!;
        string said = await program.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        Assert.True(said.Length > 0);
    }

    [Fact]
    public async Task Build_UnknownTarget_SaysWhatMakeSaid()
    {
        var failure = await Assert.ThrowsAsync<InvalidOperationException>(() => NativeTool.BuildAsync("nothing", "nothing", _directory));
        Assert.Contains("No rule to make target", failure.Message, StringComparison.Ordinal);
    }
}
