namespace K3sFast.Controllers.Tests;

public sealed class CronScheduleTests
{
    [Theory]
    [InlineData("* * * * *", "2026-01-01T00:00:30", "2026-01-01T00:01:00")]
    [InlineData("*/15 * * * *", "2026-01-01T00:15:00", "2026-01-01T00:30:00")]
    [InlineData("0 0 * * 0", "2026-01-01T00:00:00", "2026-01-04T00:00:00")]
    [InlineData("0 0 * * 7", "2026-01-01T00:00:00", "2026-01-04T00:00:00")]
    [InlineData("30 6 1 feb *", "2026-01-01T00:00:00", "2026-02-01T06:30:00")]
    [InlineData("0 0 13 * fri", "2026-01-01T00:00:00", "2026-01-02T00:00:00")]
    [InlineData("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00")]
    [InlineData("5/20 * * * *", "2026-01-01T00:05:00", "2026-01-01T00:25:00")]
    [InlineData("@hourly", "2026-01-01T00:00:00", "2026-01-01T01:00:00")]
    [InlineData("@every 1h30m", "2026-01-01T00:00:00", "2026-01-01T01:30:00")]
    public void Cron_Next_IsTheFirstAfter(string schedule, string after, string expected) =>
        Assert.Equal(expected, CronSchedule.Parse(schedule, null).Next(Utc(after))!.Value.ToString("s"));

    [Fact]
    public void Cron_DayThatNeverComes_HasNoNext() => Assert.Null(CronSchedule.Parse("0 0 30 2 *", null).Next(Utc("2026-01-01T00:00:00")));

    [Theory]
    [InlineData("* * * *")]
    [InlineData("60 * * * *")]
    [InlineData("5-1 * * * *")]
    [InlineData("x * * * *")]
    public void Cron_WrongExpression_IsRefused(string schedule) => Assert.Throws<FormatException>(() => CronSchedule.Parse(schedule, null));

    private static DateTime Utc(string text) => DateTime.SpecifyKind(DateTime.Parse(text), DateTimeKind.Utc);
}
