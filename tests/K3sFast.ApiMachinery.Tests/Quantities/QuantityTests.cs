namespace K3sFast.ApiMachinery.Tests;

public sealed class QuantityTests
{
    [Theory]
    [InlineData("0", "0")]
    [InlineData("0.0", "0")]
    [InlineData("1000m", "1")]
    [InlineData("0.5", "500m")]
    [InlineData("1.5", "1500m")]
    [InlineData("1500000", "1500k")]
    [InlineData("1000", "1k")]
    [InlineData("100m", "100m")]
    [InlineData("0.1m", "100u")]
    [InlineData("1e3", "1e3")]
    [InlineData("12e6", "12e6")]
    [InlineData("1E2", "100")]
    [InlineData("1024Ki", "1Mi")]
    [InlineData("1025Ki", "1025Ki")]
    [InlineData("1.5Gi", "1536Mi")]
    [InlineData("0.1Gi", "107374182400m")]
    [InlineData("0.5Ki", "512")]
    [InlineData("512", "512")]
    [InlineData("-5m", "-5m")]
    [InlineData("0.0000000001", "1n")]
    [InlineData("9Ei", "9223372036854775807")]
    [InlineData("1Ti", "1Ti")]
    [InlineData("2T", "2T")]
    [InlineData("100000000000000000000", "100E")]
    public void ToString_ParsedText_IsCanonical(string text, string expected) => Assert.Equal(expected, Quantity.Parse(text).ToString());

    [Theory]
    [InlineData("", Quantity.FormatError)]
    [InlineData("a", Quantity.FormatError)]
    [InlineData("1a", Quantity.FormatError)]
    [InlineData("1 m", Quantity.FormatError)]
    [InlineData("--1", Quantity.SuffixError)]
    [InlineData("1mi", Quantity.SuffixError)]
    [InlineData("1kk", Quantity.SuffixError)]
    [InlineData("1ki", Quantity.SuffixError)]
    [InlineData("1K", Quantity.SuffixError)]
    [InlineData("1e", Quantity.SuffixError)]
    public void Parse_NoQuantity_SaysWhatIsWrong(string text, string words) =>
        Assert.Equal(words, Assert.Throws<FormatException>(() => Quantity.Parse(text)).Message);

    [Fact]
    public void CompareTo_DifferentForms_ComparesValues()
    {
        Assert.Equal(Quantity.Parse("1Ki"), Quantity.Parse("1024"));
        Assert.Equal(Quantity.Parse("1Ki").GetHashCode(), Quantity.Parse("1.024k").GetHashCode());
        Assert.True(Quantity.Parse("999m") < Quantity.Parse("1"));
        Assert.True(Quantity.Parse("-1") < Quantity.Parse("0"));
        Assert.True(Quantity.Parse("1G") < Quantity.Parse("1Gi"));
    }

    [Fact]
    public void Arithmetic_MixedForms_IsExactAndKeepsTheFirstForm()
    {
        Assert.Equal("1100m", (Quantity.Parse("1") + Quantity.Parse("100m")).ToString());
        Assert.Equal("3Gi", (Quantity.Parse("2Gi") + Quantity.Parse("1073741824")).ToString());
        Assert.Equal("900m", (Quantity.Parse("1") - Quantity.Parse("100m")).ToString());
    }

    [Fact]
    public void Value_Fraction_RoundsUp()
    {
        Assert.Equal(2, Quantity.Parse("1001m").Value);
        Assert.Equal(1001, Quantity.Parse("1000.1m").MilliValue);
        Assert.Equal(long.MaxValue, Quantity.Parse("100000E").Value);
    }
}
