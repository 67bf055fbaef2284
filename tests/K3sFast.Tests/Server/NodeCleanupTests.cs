using K3sFast.Configuration;
using K3sFast.Server;

namespace K3sFast.Tests.Server;

public sealed class NodeCleanupTests
{
    [Fact]
    public void Purge_OfAnAgent_DeletesItsFilesAndMissesNoKubeconfig()
    {
        var root = Directory.CreateTempSubdirectory("k3sfast-purge-").FullName;
        try
        {
            var data = Path.Combine(root, "data");
            Directory.CreateDirectory(Path.Combine(data, "agent", "etc"));
            File.WriteAllText(Path.Combine(root, "config.yaml"), "");
            var flags = FlagValues.Load(
                ["--config", Path.Combine(root, "config.yaml"), "--data-dir", data, "--node-ip=127.0.0.1", $"--kubelet-arg=root-dir={root}/kubelet", $"--kubelet-arg=pod-logs-dir={root}/logs"],
                static _ => null, FlagTable.AnyFlags);
            var output = new StringWriter();
            Assert.True(new NodeCleanup(NodeConfig.From(flags), Path.Combine(root, "none", "k3s.yaml"), output).Purge(), output.ToString());
            Assert.False(Directory.Exists(data));
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }
}
