namespace K3sFast.ApiServer.Tests;

/// <summary>The three health pages in upstream's text forms.</summary>
public sealed class HealthTests(TestServer server)
{
    [Theory]
    [InlineData("/livez")]
    [InlineData("/readyz")]
    [InlineData("/healthz")]
    [InlineData("/livez/etcd")]
    [InlineData("/readyz/informer-sync")]
    [InlineData("/healthz/poststarthook/rbac/bootstrap-roles")]
    public async Task Page_AllIsWell_AnswersOk(string path)
    {
        var answer = await server.GetAsync(path);
        Assert.Equal((200, "ok"), (answer.Code, answer.Text));
    }

    [Theory]
    [InlineData("/livez/")]
    [InlineData("/livez/nope")]
    [InlineData("/readyz/etcd")]
    [InlineData("/livez/shutdown")]
    public async Task Check_ThatThePageDoesNotHave_AnswersNotFound(string path)
    {
        var answer = await server.GetAsync(path);
        Assert.Equal((404, "404 page not found\n"), (answer.Code, answer.Text));
    }

    [Fact]
    public async Task Verbose_Livez_ListsChecksInOrder()
    {
        var text = (await server.GetAsync("/livez?verbose")).Text;

        Assert.StartsWith("[+]ping ok\n[+]log ok\n[+]loopback-serving-certificate ok\n[+]etcd ok\n[+]poststarthook/", text, StringComparison.Ordinal);
        Assert.EndsWith(" ok\nlivez check passed\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Exclude_KnownAndUnknown_IsToldOfBoth()
    {
        var text = (await server.GetAsync("/readyz?verbose&exclude=ping&exclude=foo&exclude=etcd")).Text;

        Assert.StartsWith("[+]ping excluded: ok\n", text, StringComparison.Ordinal);
        Assert.EndsWith("[+]shutdown ok\nwarn: some health checks cannot be excluded: no matches for \"etcd\",\"foo\"\nreadyz check passed\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Check_Failing_FailsItsPagesAndWithholdsTheReason()
    {
        var checks = new HealthChecks();
        checks.Add("ping", static () => null);
        checks.Add("etcd", static () => "no answer", HealthPages.Live);
        var hook = checks.AddStartHook("slow");

        Assert.Equal((500, "[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/slow failed: reason withheld\nlivez check failed\n"), await AskAsync(checks, "/livez"));
        Assert.Equal((500, "internal server error: no answer\n"), await AskAsync(checks, "/livez/etcd"));
        Assert.Equal((500, "internal server error: not finished\n"), await AskAsync(checks, "/readyz/poststarthook/slow"));
        hook.Done();
        Assert.Equal((200, "ok"), await AskAsync(checks, "/readyz"));
        Assert.Equal((200, "ok"), await AskAsync(checks, "/livez?exclude=etcd"));
    }

    private static async Task<(int Code, string Text)> AskAsync(HealthChecks checks, string target)
    {
        var call = new LocalApiCall(new UserInfo("test", []), "GET", target, default, null, TestContext.Current.CancellationToken);
        await checks.AnswerAsync(call, target.Split('?')[0]);
        return (call.AnsweredStatus, System.Text.Encoding.UTF8.GetString(call.Answer.Span));
    }
}
