using System.Diagnostics;
using System.Runtime.InteropServices;

namespace K3sFast.LoadTest;

/// <summary>
/// Tells a thread of its own when things are due, to some tens of microseconds. The runtime's timers come a millisecond and more late, which would be
/// counted as the server's delay.
/// </summary>
internal static partial class Pacer
{
    /// <summary>Calls <paramref name="due"/> at a steady rate, each time with the number and the moment it was due; ends when it answers false.</summary>
    internal static Task RunAsync(int perSecond, int count, Stopwatch clock, Func<int, TimeSpan, bool> due) => Task.Factory.StartNew(
        () =>
        {
            for (var i = 0; i < count; i++)
            {
                var at = TimeSpan.FromSeconds((double)i / perSecond);
                for (var left = at - clock.Elapsed; left > TimeSpan.Zero; left = at - clock.Elapsed) Sleep(left);
                if (!due(i, at)) return;
            }
        },
        CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private static void Sleep(TimeSpan time)
    {
        var wanted = new TimeSpec((long)time.TotalSeconds, time.Ticks % TimeSpan.TicksPerSecond * 100);
        // Interrupted is no matter: the caller looks at the clock again.
        _ = nanosleep(in wanted, 0);
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly struct TimeSpec(long seconds, long nanoseconds)
    {
        public readonly long Seconds = seconds;
        public readonly long Nanoseconds = nanoseconds;
    }

    // nanosleep(2)
    [LibraryImport("libc")]
    private static partial int nanosleep(in TimeSpec wanted, nint left);
}
