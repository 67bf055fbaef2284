using System.Text;

namespace K3sFast.ApiMachinery.Tests;

public sealed class GoDurationTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("-0", 0)]
    [InlineData("1h15m30.5s", 4_530_500_000_000)]
    [InlineData("+5ms", 5_000_000)]
    [InlineData("-1.5us", -1_500)]
    [InlineData(".5µs", 500)]
    [InlineData("3.μs", 3_000)]
    [InlineData("0.9999999999999999999999ns", 0)]
    [InlineData("0.100000000000000000001h", 360_000_000_000)]
    [InlineData("9223372036854775807ns", long.MaxValue)]
    [InlineData("-9223372036854775808ns", long.MinValue)]
    public void TryParse_Duration_Nanoseconds(string text, long expected)
    {
        Assert.Null(GoDuration.TryParse(Encoding.UTF8.GetBytes(text), out var nanoseconds));
        Assert.Equal(expected, nanoseconds);
    }

    [Theory]
    [InlineData("", "time: invalid duration \"\"")]
    [InlineData("-", "time: invalid duration \"-\"")]
    [InlineData(".s", "time: invalid duration \".s\"")]
    [InlineData("s", "time: invalid duration \"s\"")]
    [InlineData("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\"")]
    [InlineData("99999999999999999999h", "time: invalid duration \"99999999999999999999h\"")]
    [InlineData("3", "time: missing unit in duration \"3\"")]
    [InlineData("1.5.5s", "time: missing unit in duration \"1.5.5s\"")]
    [InlineData("1d", "time: unknown unit \"d\" in duration \"1d\"")]
    [InlineData("1h 5m", "time: unknown unit \"h \" in duration \"1h 5m\"")]
    public void TryParse_NoDuration_GoesWords(string text, string expected) =>
        Assert.Equal(expected, GoDuration.TryParse(Encoding.UTF8.GetBytes(text), out _));

    [Theory]
    [InlineData(0, "0s")]
    [InlineData(15, "15ns")]
    [InlineData(1_500, "1.5µs")]
    [InlineData(87_000_000, "87ms")]
    [InlineData(80_250_000_000, "1m20.25s")]
    [InlineData(3_600_000_000_000, "1h0m0s")]
    [InlineData(long.MinValue, "-2562047h47m16.854775808s")]
    public void Format_Nanoseconds_ReadBackTheSame(long nanoseconds, string expected)
    {
        Assert.Equal(expected, GoDuration.Format(nanoseconds));
        Assert.Null(GoDuration.TryParse(Encoding.UTF8.GetBytes(expected), out var read));
        Assert.Equal(nanoseconds, read);
    }
}
