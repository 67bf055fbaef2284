using K3sFast.Interop.Processes;

namespace K3sFast.Server;

/// <summary>
/// Gives back what only the start needed: garbage, what the C library holds free, and the executable's pages that are not run any more. Once soon
/// after the start, and now and then after that for what a burst of work left behind.
/// </summary>
internal static class MemorySettler
{
    // By then the node is Ready and its add-ons run.
    private static readonly TimeSpan s_firstAfter = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_period = TimeSpan.FromMinutes(5);

    /// <summary>Runs until cancelled, without throwing.</summary>
    internal static async Task RunAsync(CancellationToken stopping)
    {
        await Task.Delay(s_firstAfter, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!stopping.IsCancellationRequested)
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        while (!stopping.IsCancellationRequested)
        {
            ProcessMemory.TrimAllocator();
            ProcessMemory.ReleaseStartPages();
            await Task.Delay(s_period, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
