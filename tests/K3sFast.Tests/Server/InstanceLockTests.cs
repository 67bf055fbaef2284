using K3sFast.Configuration;
using K3sFast.Server;

namespace K3sFast.Tests.Server;

public sealed class InstanceLockTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Take_DirectoryHeld_SaysByWhomUntilItIsLetGo()
    {
        var paths = new NodePaths(_folder.Path, Path.Combine(_folder.Path, "run"), "/k", "/p");
        Directory.CreateDirectory(paths.Agent);
        Assert.Equal(0, InstanceLock.FindHolder(paths));
        using (InstanceLock.Take(paths))
        {
            Assert.Equal(Environment.ProcessId, InstanceLock.FindHolder(paths));
            var message = Assert.Throws<ConfigurationException>(() => InstanceLock.Take(paths)).Message;
            Assert.Contains($"pid {Environment.ProcessId}", message, StringComparison.Ordinal);
        }
        Assert.Equal(0, InstanceLock.FindHolder(paths));
        InstanceLock.Take(paths).Dispose();
    }

    [Theory]
    [InlineData("nameserver 127.0.0.53\n", false)]
    [InlineData("# x\nsearch a\n", false)]
    [InlineData("nameserver 127.0.0.1\nnameserver\t192.0.2.1\n", true)]
    public void Resolver_OnlyLoopback_IsNotReachableFromPods(string text, bool isReachable) =>
        Assert.Equal(isReachable, NodeResolver.HasReachableServer(_folder.File("resolv.conf", text)));
}
