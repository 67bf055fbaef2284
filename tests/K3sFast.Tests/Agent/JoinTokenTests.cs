using K3sFast.Agent;
using K3sFast.Configuration;

namespace K3sFast.Tests.Agent;

public sealed class JoinTokenTests
{
    private const string Hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    [Theory]
    [InlineData("K10" + Hash + "::server:s3cret", Hash, "s3cret", "")]
    [InlineData("K10" + Hash + "::node:a:b\n", Hash, "a:b", "")]
    [InlineData("K10" + Hash + "::abcdef.0123456789abcdef", Hash, "", "abcdef.0123456789abcdef")]
    [InlineData("abcdef.0123456789abcdef", "", "", "abcdef.0123456789abcdef")]
    [InlineData("K10::server:s3cret", "", "s3cret", "")]
    [InlineData("just:a::word", "", "just:a::word", "")]
    public void Parse_K3sForms_AreUnderstood(string text, string hash, string password, string bootstrap) =>
        Assert.Equal(new JoinToken(hash, password, bootstrap), JoinToken.Parse(text));

    [Theory]
    [InlineData("", "must not be empty")]
    [InlineData("K10" + "0123::server:s3cret", "CA hash length")]
    [InlineData("K10" + Hash + "::server:", "invalid token format")]
    [InlineData("K10" + Hash, "invalid token format")]
    public void Parse_WhatIsNoToken_SaysWhatOneLooksLike(string text, string words) =>
        Assert.Contains(words, Assert.Throws<ConfigurationException>(() => JoinToken.Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void Authorization_OfAServersToken_AsksAsANode() =>
        Assert.Equal("Basic " + Convert.ToBase64String("node:s3cret"u8), JoinToken.Parse("K10" + Hash + "::server:s3cret").Authorization);
}
