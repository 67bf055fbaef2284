using System.Diagnostics;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>When flushes run beside the writer and beside each other, on media that are no more than arithmetic.</summary>
public sealed class FlushPaceTests
{
    private static readonly long s_ms = Stopwatch.Frequency / 1000;

    private readonly FlushPace _pace = new(TimeSpan.FromMilliseconds(2));

    [Fact]
    public void QuickMedium_IsFlushedByTheWriter()
    {
        for (int i = 0; i < 100; i++) _pace.OnOwnFlush(TimeSpan.FromMilliseconds(i % 4 == 0 ? 30 : 0.5));
        Assert.False(_pace.IsSlow);
    }

    [Fact]
    public void SlowMedium_IsFlushedByThreads_UntilItIsQuickAgain()
    {
        for (int i = 0; i < 4; i++) _pace.OnOwnFlush(TimeSpan.FromMilliseconds(10));
        Assert.True(_pace.IsSlow);
        long now = 0;
        for (int i = 0; i < 4; i++)
        {
            Assert.Equal(0, _pace.TicksBeforeNext(now));
            _pace.OnBegin(i, now);
            _pace.OnEnd(i, now += s_ms / 2);
        }
        Assert.False(_pace.IsSlow);
    }

    [Fact]
    public void IdleMedium_NothingIsWaitedFor()
    {
        for (int i = 0; i < 4; i++) _pace.OnOwnFlush(TimeSpan.FromMilliseconds(10));
        Assert.Equal(0, _pace.TicksBeforeNext(0));
    }

    [Fact]
    public void RunningFlush_NextBeginsAfterAQuarterOfTheUsualTime_AndNoMoreThanFour()
    {
        for (int i = 0; i < 4; i++) _pace.OnOwnFlush(TimeSpan.FromMilliseconds(10));
        long now = 0;
        for (int i = 0; i < FlushPace.MaxFlushes; i++)
        {
            Assert.Equal(0, _pace.TicksBeforeNext(now));
            _pace.OnBegin(i, now);
            if (i < FlushPace.MaxFlushes - 1) Assert.InRange(_pace.TicksBeforeNext(now), (2.5 * s_ms) - 2, (2.5 * s_ms) + 2);
            now += 5 * s_ms / 2;
        }
        Assert.Equal(long.MaxValue, _pace.TicksBeforeNext(now));
        _pace.OnEnd(0, now);
        Assert.NotEqual(long.MaxValue, _pace.TicksBeforeNext(now));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(30)]
    public void ParallelMedium_GoesOnBeside(int unevenPercent)
    {
        var medium = new Medium(_pace, isParallel: true, unevenPercent);
        medium.Flush(2_000);
        Assert.True(medium.Beside > 1_800, $"{medium.Beside} of 2000 began beside another");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(30)]
    public void SerialMedium_GoesOnAlone_AndTriesAgainNowAndThen(int unevenPercent)
    {
        var medium = new Medium(_pace, isParallel: false, unevenPercent);
        medium.Flush(4_000);
        // Trials of some at 64, 128, 256, 512, 1024 and 1024 flushes.
        Assert.InRange(medium.Beside, 8, 120);
        int before = medium.Beside;
        medium.Flush(2_000);
        Assert.True(medium.Beside > before, "it is not tried again");
    }

    /// <summary>The medium is found slower than it was: that is not taken for hindering for long.</summary>
    [Fact]
    public void ParallelMedium_TurnsSlower_GoesOnBeside()
    {
        var medium = new Medium(_pace, isParallel: true);
        medium.Flush(500);
        medium.FlushTicks = 25 * s_ms;
        medium.Flush(500);
        int before = medium.Beside;
        medium.Flush(1_000);
        Assert.True(medium.Beside - before > 800, $"{medium.Beside - before} of 1000 began beside another");
    }

    /// <summary>A medium under writers that never pause.</summary>
    private sealed class Medium
    {
        private readonly FlushPace _pace;
        private readonly bool _isParallel;
        private readonly int _unevenPercent;
        private readonly Random _random = new(1);
        private readonly List<(long Number, long Ends)> _running = [];
        private long _now;
        private long _number;

        public Medium(FlushPace pace, bool isParallel, int unevenPercent = 0)
        {
            (_pace, _isParallel, _unevenPercent) = (pace, isParallel, unevenPercent);
            for (int i = 0; i < 4; i++) pace.OnOwnFlush(TimeSpan.FromMilliseconds(10));
        }

        public long FlushTicks { get; set; } = 10 * s_ms;

        public int Beside { get; private set; }

        public void Flush(int flushes)
        {
            for (int begun = 0; begun < flushes;)
            {
                long wait = _pace.TicksBeforeNext(_now);
                if (wait == 0)
                {
                    if (_pace.Running > 0) Beside++;
                    _pace.OnBegin(++_number, _now);
                    long begins = _isParallel || _running.Count == 0 ? _now : Math.Max(_now, _running[^1].Ends);
                    _running.Add((_number, begins + (FlushTicks * (100 + _random.Next(-_unevenPercent, _unevenPercent + 1)) / 100)));
                    begun++;
                    // Until the next group is written.
                    _now += s_ms / 4;
                }
                else
                {
                    long ends = _running.Min(static flush => flush.Ends);
                    _now = Math.Min(wait == long.MaxValue ? long.MaxValue : _now + wait, ends);
                }
                foreach (var ended in _running.Where(flush => flush.Ends <= _now).OrderBy(static flush => flush.Ends).ToArray())
                {
                    _pace.OnEnd(ended.Number, ended.Ends);
                    _running.Remove(ended);
                }
            }
        }
    }
}
