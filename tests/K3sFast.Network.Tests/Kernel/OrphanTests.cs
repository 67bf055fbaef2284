using System.Runtime.InteropServices;
using K3sFast.Interop.Mounts;
using K3sFast.Interop.Namespaces;
using K3sFast.Network.Proxy.Ebpf;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>Programs outlive their agent on purpose, but not the network that they serve.</summary>
public sealed partial class OrphanTests
{
    // More namespaces than other tests, and whoever else is on the machine, make while this one runs.
    private const int LowNumbers = 500;

    [Fact]
    public async Task Programs_OfANamespaceThatIsGone_GoWhenAnAgentStarts_OthersStay()
    {
        TestNode.RequirePrivilege();
        if (!NamespaceCensus.IsPossible) Assert.Skip("needs the first PID namespace: who is in another does not see whose namespaces there are");
        var door = Path.GetTempFileName();
        var low = TakeLowNumbers();
        using var held = NetworkNamespace.Create();
        var (descriptors, (resident, processes), mounts, gone) = (LeavePrograms(held), LeaveToAProcess(), LeaveToAMount(door), LeaveToNobody());
        foreach (var number in low) number.Dispose();
        try
        {
            await GoneAsync(gone);
            using (var node = new AgentNode())
            {
                await using var agent = node.Run();
                await agent.UntilAsync(() => !Directory.Exists(gone), "the programs of nobody are still there");
            }
            Assert.All((string[])[descriptors, processes, mounts], static directory => Assert.NotEmpty(Directory.GetFiles(directory)));

            resident.Dispose();
            MountPoint.Unmount(door);
            await GoneAsync(processes);
            await GoneAsync(mounts);
            SocketPrograms.RemoveOrphans();
            Assert.NotEmpty(Directory.GetFiles(descriptors));
            // Another test may do it at the same time, and not be done.
            await LanNode.Until(() => Task.FromResult(!Directory.Exists(processes) && !Directory.Exists(mounts)), "programs are left");
        }
        finally
        {
            MountPoint.Unmount(door);
            File.Delete(door);
            foreach (var directory in (string[])[descriptors, processes, mounts, gone]) SocketPrograms.Remove(directory);
        }
    }

    private static (IDisposable Resident, string Directory) LeaveToAProcess()
    {
        using var inside = NetworkNamespace.Create();
        return (TestNode.Occupy(inside), LeavePrograms(inside));
    }

    private static string LeaveToAMount(string door)
    {
        using var inside = NetworkNamespace.Create();
        MountPoint.Bind(inside.Path, door);
        return LeavePrograms(inside);
    }

    private static string LeaveToNobody()
    {
        using var inside = NetworkNamespace.Create();
        return LeavePrograms(inside);
    }

    // What a killed agent leaves, in its directory.
    private static string LeavePrograms(NetworkNamespace inside)
    {
        try
        {
            using var services = new SocketServices(inside, hasLocalhostPorts: true, static _ => true, NullLogger.Instance);
            services.Flush();
        }
        catch (EbpfUnavailableException e)
        {
            Assert.Skip("needs " + e.Message);
        }
        var directory = SocketPrograms.DirectoryOf(NamespacePaths.NameOf(inside.Path));
        Assert.NotEmpty(Directory.GetFiles(directory));
        return directory;
    }

    /// <summary>
    /// Namespaces of all kinds have numbers of one row, and a new one gets the lowest that is free: that of one of ours that is gone would soon be another test's,
    /// and its programs nobody's no more. Those that are taken here before and given back after are lower.
    /// </summary>
    private static List<IDisposable> TakeLowNumbers()
    {
        const int NewUts = 0x04000000;
        var taken = new List<IDisposable>();
        var thread = new Thread(() =>
        {
            while (taken.Count < LowNumbers && Unshare(NewUts) == 0) taken.Add(File.OpenHandle("/proc/thread-self/ns/uts"));
        });
        thread.Start();
        thread.Join();
        return taken;
    }

    // The kernel takes its time with a namespace that nobody has any more.
    private static Task GoneAsync(string directory) => LanNode.Until(
        () => Task.FromResult(NamespaceCensus.Take()?.Contains(Path.GetFileName(directory)) == false), "the namespace is still there");

    [LibraryImport("libc", EntryPoint = "unshare", SetLastError = true)]
    private static partial int Unshare(int flags);
}
