using K3sFast.Interop.Processes;

namespace K3sFast.Server;

/// <summary>
/// Gives back what only the start needed, and after it what bursts of work left behind: garbage, what the C library holds free, and the executable's
/// pages that are not run any more. Soon after the start, then whenever a burst is over, and now and then besides.
/// </summary>
/// <param name="allocated">Bytes allocated since the process began: what comes from now on tells whether anybody works.</param>
internal sealed class MemorySettler(long allocated)
{
    // Then the node is Ready and its add-ons run, or nearly.
    private static readonly TimeSpan s_firstAfter = TimeSpan.FromSeconds(5);

    // Between two looks, which cost some microseconds.
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(5);

    // Without a burst, what trickles together is given back this often.
    private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(5);

    // A collection of everything stops the process for some milliseconds per 10 MB: only where nobody works, be it after the start, and for as much as
    // this or a quarter of what is there.
    private const long QuietBytes = 2 << 20;
    private const long WorthwhileBytes = 6 << 20;
    private const int WorthwhileShare = 4;

    private long _allocated = allocated;
    private long _settled;

    /// <summary>Runs until cancelled, without throwing.</summary>
    internal static async Task RunAsync(CancellationToken stopping)
    {
        await Task.Delay(s_firstAfter, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        var settler = new MemorySettler(GC.GetTotalAllocatedBytes());
        var sinceTrim = TimeSpan.Zero;
        while (true)
        {
            await Task.Delay(s_period, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (stopping.IsCancellationRequested) return;
            sinceTrim += s_period;
            if (settler.IsCollectionDue(GC.GetTotalAllocatedBytes(), GC.GetTotalMemory(forceFullCollection: false)))
            {
                GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
                settler.NoteCollected(GC.GetTotalMemory(forceFullCollection: false));
                sinceTrim = s_longest;
            }
            if (sinceTrim >= s_longest)
            {
                ProcessMemory.TrimAllocator();
                ProcessMemory.ReleaseStartPages();
                sinceTrim = TimeSpan.Zero;
            }
        }
    }

    /// <summary>True when the work of the last period is over and left much behind. Once a period.</summary>
    /// <param name="allocated">Bytes allocated since the process began.</param>
    /// <param name="heap">Bytes on the heap, garbage among them.</param>
    internal bool IsCollectionDue(long allocated, long heap)
    {
        bool isQuiet = allocated - _allocated < QuietBytes;
        _allocated = allocated;
        return isQuiet && heap - _settled > Math.Max(WorthwhileBytes, _settled / WorthwhileShare);
    }

    /// <summary>A collection left this much.</summary>
    internal void NoteCollected(long heap) => _settled = heap;
}
