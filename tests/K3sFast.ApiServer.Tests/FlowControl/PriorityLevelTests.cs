namespace K3sFast.ApiServer.Tests;

public sealed class PriorityLevelTests
{
    private const ulong Elephant = 0x1234_5678_9ABC_DEF0;
    private const ulong Mouse = 0xFEDC_BA98_7654_3210;

    [Fact]
    public void Level_WithRoom_LetsInAtOnce()
    {
        var level = Make(limit: 2, queues: 8, hand: 2, length: 10);
        Assert.Equal(SeatOutcome.Entered, level.Enter(Mouse, 1, out var hold, out _));
        level.Leave(hold);
        Assert.Equal((0, 0, 1L), (level.State().Executing, level.State().ActiveQueues, level.State().Counts.Dispatched));
    }

    [Fact]
    public async Task Level_WithoutRoom_QueuesAndServesInTurn()
    {
        var level = Make(limit: 1, queues: 8, hand: 2, length: 10);
        level.Enter(Mouse, 1, out var first, out _);
        Assert.Equal(SeatOutcome.Queued, level.Enter(Mouse, 1, out _, out var second));
        Assert.Equal(SeatOutcome.Queued, level.Enter(Mouse, 1, out _, out var third));
        level.Leave(first);
        await second!.Turn.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
        Assert.False(third!.Turn.IsCompleted);
        level.Leave(level.HoldOf(second));
        await third.Turn.WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
        level.Leave(level.HoldOf(third));
        Assert.Equal((0, 0, 0, 0), (level.State().Waiting, level.State().Executing, level.State().SeatsInUse, level.State().ActiveQueues));
    }

    [Fact]
    public void Level_WhoseHandIsFull_Refuses()
    {
        var level = Make(limit: 1, queues: 4, hand: 2, length: 3);
        level.Enter(Mouse, 1, out _, out _);
        var outcomes = Enumerable.Range(0, 7).Select(i => level.Enter(Mouse, 1, out _, out _)).ToList();
        // Two queues of three, then no more.
        Assert.Equal(6, outcomes.Count(static outcome => outcome == SeatOutcome.Queued));
        Assert.Equal(SeatOutcome.Refused, outcomes[6]);
        Assert.Equal(1, level.State().Counts.Rejected);
    }

    [Fact]
    public void Level_WithoutQueues_Refuses()
    {
        var level = Make(limit: 1, queues: 0, hand: 1, length: 0);
        Assert.Equal(SeatOutcome.Entered, level.Enter(0, 1, out var hold, out _));
        Assert.Equal(SeatOutcome.Refused, level.Enter(0, 1, out _, out _));
        level.Leave(hold);
        Assert.Equal(SeatOutcome.Entered, level.Enter(0, 1, out _, out _));
    }

    [Fact]
    public void Level_Exempt_AlwaysLetsIn()
    {
        var level = new PriorityLevel("exempt", TimeProvider.System);
        level.Configure("u", isExempt: true, 0, 1, 0);
        for (var i = 0; i < 1000; i++)
            Assert.Equal(SeatOutcome.Entered, level.Enter(0, 1, out _, out _));
        Assert.Equal(1000, level.State().Executing);
    }

    [Fact]
    public void Flow_ThatFloods_DoesNotDelayAnother()
    {
        var clock = new ManualClock();
        var level = Make(limit: 1, queues: 64, hand: 1, length: 100, clock);
        level.Enter(Elephant, 1, out var hold, out _);
        var waiting = new List<(bool IsMouse, SeatWaiter Waiter)>();
        for (var i = 0; i < 50; i++)
        {
            level.Enter(Elephant, 1, out _, out var waiter);
            waiting.Add((false, waiter!));
        }
        for (var i = 0; i < 5; i++)
        {
            level.Enter(Mouse, 1, out _, out var waiter);
            waiting.Add((true, waiter!));
        }
        var order = new List<bool>();
        while (order.Count < 12)
        {
            clock.Advance(TimeSpan.FromMilliseconds(10));
            level.Leave(hold);
            var (isMouse, served) = waiting.Single(static entry => entry.Waiter.IsServed);
            waiting.Remove((isMouse, served));
            hold = level.HoldOf(served);
            order.Add(isMouse);
        }
        // Taking turns, the five of the small flow are through within the first ten or so, not behind fifty.
        Assert.Equal(5, order.Count(static isMouse => isMouse));
    }

    [Fact]
    public void Waiter_ThatGivesUp_LeavesNothingBehind()
    {
        var level = Make(limit: 1, queues: 4, hand: 1, length: 10);
        level.Enter(Mouse, 1, out var hold, out _);
        level.Enter(Mouse, 1, out _, out var waiter);
        Assert.True(level.TryWithdraw(waiter!, isTimeout: true));
        level.Leave(hold);
        Assert.False(waiter!.Turn.IsCompleted);
        Assert.Equal((0, 0, 0, 1L), (level.State().Waiting, level.State().SeatsWaiting, level.State().Executing, level.State().Counts.TimedOut));
        // One that was served meanwhile cannot give up any more.
        level.Enter(Mouse, 1, out hold, out _);
        level.Enter(Mouse, 1, out _, out waiter);
        level.Leave(hold);
        Assert.False(level.TryWithdraw(waiter!, isTimeout: true));
    }

    [Fact]
    public void Request_WiderThanTheLevel_HasItAlone()
    {
        var level = Make(limit: 2, queues: 4, hand: 1, length: 10);
        Assert.Equal(SeatOutcome.Entered, level.Enter(Mouse, 5, out var wide, out _));
        Assert.Equal(SeatOutcome.Queued, level.Enter(Elephant, 1, out _, out var narrow));
        level.Leave(wide);
        Assert.True(narrow!.IsServed);
        Assert.Equal(SeatOutcome.Queued, level.Enter(Mouse, 5, out _, out _));
    }

    [Fact]
    public void Level_ThatGetsMoreSeatsAndFewerQueues_GoesOn()
    {
        var level = Make(limit: 1, queues: 32, hand: 1, length: 10);
        level.Enter(Elephant, 1, out var hold, out _);
        level.Enter(Mouse, 1, out _, out var waiter);
        level.Configure("u", false, 2, 1, 10);
        Assert.False(waiter!.IsServed);
        level.SetLimit(2, 1);
        Assert.True(waiter.IsServed);
        level.Leave(hold);
        level.Leave(level.HoldOf(waiter));
        Assert.Equal(2, level.State().Queues.Length);
    }

    [Fact]
    public void Request_ThatNeedNotWait_AllocatesNothing()
    {
        var level = Make(limit: 10, queues: 128, hand: 6, length: 50);
        Run(2000);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Run(2000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Run(int times)
        {
            for (var i = 0; i < times; i++)
            {
                level.Enter((ulong)i * 0x9E3779B97F4A7C15, 1, out var hold, out _);
                level.Leave(hold);
            }
        }
    }

    [Theory]
    [InlineData(128, 6)]
    [InlineData(64, 6)]
    [InlineData(16, 4)]
    [InlineData(3, 3)]
    [InlineData(1, 1)]
    public void Hand_OfAnyDeck_HasDifferentCardsEquallyOften(int deck, int size)
    {
        var counts = new int[deck];
        var hand = new int[size];
        const int Deals = 20_000;
        for (var i = 0; i < Deals; i++)
        {
            ShuffleSharding.Deal(ShuffleSharding.Hash(0, $"flow-{i}"), deck, hand);
            Assert.Equal(size, hand.Distinct().Count());
            foreach (var card in hand)
                counts[card]++;
        }
        var expected = (double)Deals * size / deck;
        Assert.All(counts, count => Assert.InRange(count, expected * 0.75, expected * 1.25));
    }

    [Fact]
    public void Seats_SharedOut_KeepBoundsAndSum()
    {
        var shares = ConcurrencyAllocation.Share(600, [new(5, 1000, 5), new(100, 400, 300), new(50, 60, 200), new(10, 1000, 10)]);
        Assert.Equal(600, shares.Sum(), 1e-6);
        Assert.Equal(60, shares[2], 1e-6);
        Assert.Equal(400, shares[1], 1e-6);
        Assert.Equal(2, shares[3] / shares[0], 1e-6);
        // Bounds come before the sum.
        Assert.Equal([3, 4], ConcurrencyAllocation.Share(1, [new(3, 5, 1), new(4, 5, 1)]));
        Assert.Equal([5, 5], ConcurrencyAllocation.Share(100, [new(3, 5, 1), new(4, 5, 1)]));
    }

    [Fact]
    public void RetryAfter_WhileManyAreRefused_Doubles()
    {
        var dropped = new DroppedRequests();
        Assert.Equal(1, dropped.Note(100));
        for (var i = 0; i < 10; i++)
            dropped.Note(100);
        Assert.Equal(2, dropped.Note(101));
        for (var second = 102; second < 110; second++)
        {
            for (var i = 0; i < 50; i++)
                dropped.Note(second);
        }
        Assert.Equal(8, dropped.Note(110));
        Assert.Equal(7, dropped.Note(200));
    }

    [Fact]
    public void Demand_IsToldAsTimeByItsPartOfTheNominalSeats()
    {
        var clock = new ManualClock();
        var level = Make(limit: 4, queues: 0, hand: 1, length: 0, clock);
        level.SetLimit(4, 10, whole: 4);
        level.Enter(Mouse, 1, out var hold, out _);
        clock.Advance(TimeSpan.FromSeconds(2));
        level.Leave(hold);
        clock.Advance(TimeSpan.FromSeconds(1));
        // A quarter for two seconds, nothing for one.
        Assert.Equal([1e9, 2e9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], level.Times().Demand.Nanoseconds);
        Assert.Equal(0.25 * 2e9, level.Times().Demand.Sum);
    }

    [Fact]
    public void Use_OfSeatsAndQueues_IsToldAsTimeByItsPart()
    {
        var clock = new ManualClock();
        var level = Make(limit: 2, queues: 1, hand: 1, length: 10, clock);
        level.SetLimit(2, 10, whole: 2);
        level.Enter(Mouse, 2, out var hold, out _);
        level.Enter(Mouse, 1, out _, out var waiter);
        clock.Advance(TimeSpan.FromSeconds(2));
        level.Leave(hold);
        level.Leave(level.HoldOf(waiter!));
        clock.Advance(TimeSpan.FromSeconds(1));
        var times = level.Times();

        // Both seats for two seconds, and one request of ten in the queue; nothing for one.
        Assert.Equal((1e9, 2e9), (times.Seats.Nanoseconds[0], times.Seats.Nanoseconds[^2]));
        Assert.Equal((1e9, 2e9), (times.Executing.Nanoseconds[0], times.Executing.Nanoseconds[7]));
        Assert.Equal((1e9, 2e9), (times.Waiting.Nanoseconds[0], times.Waiting.Nanoseconds[5]));
        Assert.True(level.Dispatch() is { HasDispatched: true, Now: > 0 } dispatch && dispatch.Min <= dispatch.Latest && dispatch.Latest <= dispatch.Max);
    }

    private static PriorityLevel Make(int limit, int queues, int hand, int length, TimeProvider? clock = null)
    {
        var level = new PriorityLevel("test", clock ?? TimeProvider.System);
        level.Configure("uid", false, queues, hand, length);
        level.SetLimit(limit, 10);
        return level;
    }

    private sealed class ManualClock : TimeProvider
    {
        private long _ticks = 1;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => _ticks;

        internal void Advance(TimeSpan time) => _ticks += time.Ticks;
    }
}
