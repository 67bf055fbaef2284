using System.Buffers;
using System.Text;

namespace K3sFast.ApiServer.Tests;

public sealed class HtmlLinkRewriterTests
{
    [Theory]
    [InlineData("<a href=\"/x\">", "<a href=\"/pre/x\">")]
    [InlineData("<a href='/x'>", "<a href=\"/pre/x\">")]
    [InlineData("<A HREF = /x >", "<A HREF = \"/pre/x\" >")]
    [InlineData("<a class=b href=/x?a=1&amp;b=2#f>", "<a class=b href=\"/pre/x?a=1&amp;b=2#f\">")]
    [InlineData("<img src=\"/a>b\" alt=c/>", "<img src=\"/pre/a&gt;b\" alt=c/>")]
    [InlineData("<a href=\"/pre/x\">", "<a href=\"/pre/x\">")]
    [InlineData("<a href=\"/x/../y/\">", "<a href=\"/pre/y/\">")]
    [InlineData("<a href=\"http://10.0.0.1:80/x\">", "<a href=\"/pre/x\">")]
    [InlineData("<a href=\"//10.0.0.1:80/x\">", "<a href=\"/pre/x\">")]
    [InlineData("<a href=\"https://me/x\">", "<a href=\"https://me/pre/x\">")]
    [InlineData("<a href=\"https://other/x\">", "<a href=\"https://other/x\">")]
    [InlineData("<a href=\"rel\"><a href=\"#f\"><a href=\"?q\"><a href=\"\">", "<a href=\"rel\"><a href=\"#f\"><a href=\"?q\"><a href=\"\">")]
    [InlineData("<a href=\"javascript:go('/x')\"><a href=\"mailto:a@b\">", "<a href=\"javascript:go('/x')\"><a href=\"mailto:a@b\">")]
    [InlineData("<p href=\"/x\"><a title=\"/x\"><a href>", "<p href=\"/x\"><a title=\"/x\"><a href>")]
    [InlineData("<!-- <a href=\"/x\"> --><!doctype html><?x <a href=\"/x\">", "<!-- <a href=\"/x\"> --><!doctype html><?x <a href=\"/x\">")]
    [InlineData("<script src=\"/s\">\"<a href='/x'>\"</Script><a href=/x>", "<script src=\"/pre/s\">\"<a href='/x'>\"</Script><a href=\"/pre/x\">")]
    [InlineData("1 < 2 <3 <", "1 < 2 <3 <")]
    [InlineData("<a href=\"/x", "<a href=\"/x")]
    [InlineData("<form action=/f><video poster=/p src=/v><link href=/l><body background=/b>", "<form action=\"/pre/f\"><video poster=\"/pre/p\" src=\"/pre/v\"><link href=\"/pre/l\"><body background=\"/pre/b\">")]
    public void Page_InOnePieceOrByteByByte_HasItsOwnLinksRewritten(string page, string expected)
    {
        Assert.Equal(expected, Rewrite(page, page.Length));
        Assert.Equal(expected, Rewrite(page, 1));
        Assert.Equal(expected, Rewrite(page, 3));
    }

    [Fact]
    public void Tag_ThatNeverEnds_IsNotKeptBack()
    {
        var output = new ArrayBufferWriter<byte>();
        var rewriter = new HtmlLinkRewriter(new ProxyLinks("/pre", "h", "me"));
        for (var i = 0; i < 80; i++)
            rewriter.Write(Encoding.ASCII.GetBytes(i == 0 ? "<a href=\"" + new string('x', 1014) : new string('x', 1024)), output, isLast: false);
        Assert.True(output.WrittenCount > 60 * 1024, $"{output.WrittenCount} bytes are out");
    }

    private static string Rewrite(string page, int piece)
    {
        var output = new ArrayBufferWriter<byte>();
        var rewriter = new HtmlLinkRewriter(new ProxyLinks("/pre", "10.0.0.1:80", "me"));
        var bytes = Encoding.UTF8.GetBytes(page);
        for (var start = 0; start < bytes.Length; start += piece)
            rewriter.Write(bytes.AsSpan(start, Math.Min(piece, bytes.Length - start)), output, isLast: false);
        rewriter.Write([], output, isLast: true);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }
}
