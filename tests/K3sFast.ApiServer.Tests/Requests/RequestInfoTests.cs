using System.Text;

namespace K3sFast.ApiServer.Tests;

public sealed class RequestInfoTests
{
    [Theory]
    [InlineData("GET", "/api/v1/namespaces", "list||v1|namespaces|||")]
    [InlineData("GET", "/api/v1/namespaces/x", "get||v1|namespaces|x||x")]
    [InlineData("PUT", "/api/v1/namespaces/x/finalize", "update||v1|namespaces|x|finalize|x")]
    [InlineData("GET", "/api/v1/namespaces/x/pods", "list||v1|pods|||x")]
    [InlineData("GET", "/api/v1/namespaces/x/pods/p/log", "get||v1|pods|p|log|x")]
    [InlineData("GET", "/api/v1/pods?watch=true", "watch||v1|pods|||")]
    [InlineData("GET", "/api/v1/pods?watch=0", "list||v1|pods|||")]
    [InlineData("GET", "/api/v1/watch/namespaces/x/pods/p", "watch||v1|pods|p||x")]
    [InlineData("GET", "/api/v1/namespaces/x/pods?fieldSelector=metadata.name%3Dp", "list||v1|pods|p||x")]
    [InlineData("GET", "/api/v1/pods?fieldSelector=spec.nodeName=n,metadata.name==q&watch=1", "watch||v1|pods|q||")]
    [InlineData("DELETE", "/apis/apps/v1/namespaces/x/deployments", "deletecollection|apps|v1|deployments|||x")]
    [InlineData("PATCH", "/apis/apps/v1/namespaces/x/deployments/d/scale", "patch|apps|v1|deployments|d|scale|x")]
    [InlineData("GET", "/apis/apps/v1", "get||||||")]
    [InlineData("POST", "/version", "post||||||")]
    [InlineData("GET", "/api/v1%2fpods", "list||v1|pods|||")]
    [InlineData("GET", "/api/v1//pods", "get||v1||pods||")]
    public void Target_Parsed_IsWhatUpstreamSees(string method, string target, string expected)
    {
        var info = Parse(method, target);
        Assert.Equal(expected, string.Join('|', info.Verb.Text(), Text(info.Group), Text(info.Version), Text(info.Resource), info.NameText, Text(info.Subresource), info.NamespaceText));
    }

    [Fact]
    public void ProxyTarget_Parsed_KeepsTheRestOfThePath()
    {
        var info = Parse("GET", "/api/v1/namespaces/x/services/s:http/proxy/a/b?c=d");
        Assert.Equal("/a/b", Text(info.Rest));
        Assert.Equal("c=d", Text(info.Query));
    }

    [Theory]
    [InlineData("/api/v1/pods%zz")]
    [InlineData("/api/v1/pods%2")]
    public void Target_WithBrokenEscape_IsRefused(string target)
    {
        var bytes = Encoding.UTF8.GetBytes(target);
        Assert.False(RequestInfo.TryParse(bytes, bytes.Length, "GET", out _));
    }

    [Fact]
    public void Target_Parsed_AllocatesNothing()
    {
        var text = Encoding.UTF8.GetBytes("/apis/apps/v1/namespaces/default/deployments/web/scale?fieldSelector=metadata.name%3Da&watch=1");
        long names = 0;
        for (var i = 0; i < 100; i++)
            names += Count(text);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            names += Count(text);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(1100 * 3, names);
    }

    private static long Count(byte[] text) => RequestInfo.TryParse(text, text.Length, "GET", out var info) ? info.Name.Length : 0;

    private static RequestInfo Parse(string method, string target)
    {
        var bytes = Encoding.UTF8.GetBytes(target);
        Assert.True(RequestInfo.TryParse(bytes, bytes.Length, method, out var info));
        return info;
    }

    private static string Text(ReadOnlySpan<byte> utf8) => Encoding.UTF8.GetString(utf8);
}
