using K3sFast.Interop.Processes;

namespace K3sFast.Interop.Tests.Processes;

public sealed class ProcessMemoryTests
{
    [Fact]
    public void ReleaseStartPages_OfATable_TakesCleanPagesOfTheFileThatNobodyWritesTo()
    {
        string[] smaps =
        [
            "55d000000000-55d000010000 r--p 00000000 fe:01 1   /opt/my/k3sfast", "Size:   64 kB", "Private_Clean:  64 kB", "Private_Dirty:         0 kB",
            "55d000010000-55d000030000 r-xp 00010000 fe:01 1   /opt/my/k3sfast", "Private_Dirty:         0 kB",
            // Relocated, then made read-only: written to.
            "55d000030000-55d000040000 r--p 00030000 fe:01 1   /opt/my/k3sfast", "Private_Dirty:        12 kB",
            "55d000040000-55d000050000 rw-p 00040000 fe:01 1   /opt/my/k3sfast", "Private_Dirty:         0 kB",
            "7f0000000000-7f0000010000 r-xp 00000000 fe:01 2   /lib/libc.so.6", "Private_Dirty:         0 kB",
            "7f0000020000-7f0000030000 rw-p 00000000 00:00 0", "Private_Dirty:         0 kB",
        ];
        var released = new List<(long, long)>();
        var bytes = ProcessMemory.ReleaseStartPages(smaps, "/opt/my/k3sfast", (start, length) =>
        {
            released.Add((start, (long)length));
            return true;
        });
        Assert.Equal([(0x55d000000000, 0x10000), (0x55d000010000, 0x20000)], released);
        Assert.Equal(0x30000, bytes);
    }

    [Fact]
    public void ReleaseStartPages_OfThisProcess_LetsItRunOn()
    {
        ProcessMemory.KeepAllocatorSmall();
        ProcessMemory.ReleaseStartPages();
        ProcessMemory.TrimAllocator();
        Assert.Equal(6, Enumerable.Range(1, 3).Sum());
    }
}
