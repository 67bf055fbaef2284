using K3sFast.Server;

namespace K3sFast.Tests.Server;

public sealed class MemorySettlerTests
{
    private const long MiB = 1 << 20;

    [Fact]
    public void Start_IsCollectedAtTheFirstLook() => Assert.True(new MemorySettler(299 * MiB).IsCollectionDue(300 * MiB, 20 * MiB));

    [Fact]
    public void Start_ThatRunsIntoWork_IsCollectedWhenThatIsOver()
    {
        var settler = new MemorySettler(100 * MiB);
        Assert.False(settler.IsCollectionDue(300 * MiB, 20 * MiB));
        Assert.True(settler.IsCollectionDue(301 * MiB, 21 * MiB));
    }

    [Fact]
    public void Burst_IsCollectedWhenItIsOver_AndOnce()
    {
        var settler = new MemorySettler(30 * MiB);
        settler.IsCollectionDue(30 * MiB, 20 * MiB);
        settler.NoteCollected(8 * MiB);
        Assert.False(settler.IsCollectionDue(31 * MiB, 9 * MiB));
        Assert.False(settler.IsCollectionDue(231 * MiB, 60 * MiB));
        Assert.False(settler.IsCollectionDue(431 * MiB, 80 * MiB));
        Assert.True(settler.IsCollectionDue(432 * MiB, 81 * MiB));
        settler.NoteCollected(40 * MiB);
        Assert.False(settler.IsCollectionDue(433 * MiB, 41 * MiB));
    }

    [Fact]
    public void Trickle_IsCollectedWhenItIsWorthWhile_MoreOfItWhereMoreIsThere()
    {
        var settler = new MemorySettler(1 * MiB);
        settler.IsCollectionDue(1 * MiB, 20 * MiB);
        settler.NoteCollected(8 * MiB);
        Assert.False(settler.IsCollectionDue(2 * MiB, 13 * MiB));
        Assert.True(settler.IsCollectionDue(3 * MiB, 15 * MiB));
        settler.NoteCollected(200 * MiB);
        Assert.False(settler.IsCollectionDue(4 * MiB, 240 * MiB));
        Assert.True(settler.IsCollectionDue(5 * MiB, 260 * MiB));
    }
}
