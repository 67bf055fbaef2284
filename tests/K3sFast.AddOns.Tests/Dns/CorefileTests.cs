namespace K3sFast.AddOns.Dns.Tests;

public sealed class CorefileTests
{
    [Fact]
    public void Default_IsK3sOwn_AndCanBeServed()
    {
        using var dns = new DnsBench(DefaultCorefile.For("cluster.local"), new() { ["NodeHosts"] = "10.0.0.1 node1\n" });
        Assert.Empty(dns.Warnings);
        Assert.True(dns.Config.Reloads);
        Assert.Equal(8080, dns.Config.Health!.Port);
        Assert.Equal(8181, dns.Config.Ready!.Port);
        Assert.Equal(9153, dns.Config.Metrics!.Port);
        Assert.Equal(
            ["loadbalance", "hosts", "kubernetes", "cache", "loop", "forward"], dns.Config.Blocks.Single().Plugins.Select(plugin => plugin.Name));
        Assert.Equal(["10.0.0.1"], dns.Ask("node1", DnsType.A).Data(DnsType.A));
    }

    [Fact]
    public void CustomFiles_OverrideAndServer_AreImported()
    {
        using var dns = new DnsBench(DefaultCorefile.For("cluster.local"), null, new()
        {
            ["rules.override"] = "rewrite name web.example.com web.default.svc.cluster.local\n",
            ["lab.server"] = "lab.test:53 {\n  template ANY ANY {\n    rcode REFUSED\n  }\n}\n",
            ["notes.txt"] = "not a Corefile {",
        });
        dns.Add(DnsBench.Service("web", "10.43.0.5"));
        Assert.Equal(["10.43.0.5"], dns.Ask("web.example.com", DnsType.A).Data(DnsType.A));
        Assert.Equal(DnsCode.Refused, dns.Ask("x.lab.test", DnsType.A).Code);
    }

    [Fact]
    public void Snippets_Quotes_AndEnvironment_AreRead()
    {
        Environment.SetEnvironmentVariable("K3SFAST_TEST_ZONE", "env.test");
        var blocks = Corefile.Parse("""
            # comment
            (common) {
                errors
                template IN A {args[0]} {
                    answer "{{ .Name }} 60 IN
             A 192.0.2.1" # the rest is comment
                }
            }
            {$K3SFAST_TEST_ZONE}, other.test:1053 {
                import common env.test
                reload 2s }
            """, new CorefileFiles(null, null), out _);
        var block = Assert.Single(blocks);
        Assert.Equal(["env.test", "other.test:1053"], block.Keys);
        Assert.Equal(["errors", "template", "reload"], block.Directives.Select(directive => directive.Name));
        Assert.Equal(["IN", "A", "env.test"], block.Directives[1].Arguments);
        Assert.Equal("{{ .Name }} 60 IN\n A 192.0.2.1", block.Directives[1].Lines.Single().Words[1].Replace("\r", ""));
        Assert.Equal(["2s"], block.Directives[2].Arguments);
    }

    [Theory]
    [InlineData(". {\n nonsense\n}", "Corefile:2 - Error during parsing: Unknown directive 'nonsense'")]
    [InlineData(". {\n route53 x\n}", "Corefile:2 - Error during parsing: plugin 'route53' is not part of the built-in DNS")]
    [InlineData(". {\n cache 0\n}", "cache TTL can not be zero or negative: 0")]
    [InlineData(". {\n forward .\n}", "Wrong argument count or unexpected line ending after '.'")]
    [InlineData(". {\n forward . 192.0.2.1 {\n  speed fast\n }\n}", "Corefile:3 - Error during parsing: unknown property 'speed'")]
    [InlineData(". {\n forward . https://9.9.9.9\n}", "only dns:// and tls://")]
    [InlineData(". {\n forward . nonsense\n}", "not an IP address or file: \"nonsense\"")]
    [InlineData(". {\n kubernetes cluster.local {\n  pods maybe\n }\n}", "wrong value for pods: maybe")]
    [InlineData(". {\n kubernetes in-addr.arpa\n}", "non-reverse zone name must be used")]
    [InlineData(". {\n rewrite name regex (x y\n}", "invalid regex pattern")]
    [InlineData(". {\n rewrite edns0 local set 0xffee 0x61\n}", "not part of the built-in DNS")]
    [InlineData(". {\n template IN A {\n  answer \"{{ if .Name }}x{{ end }}\"\n }\n}", "is not supported")]
    [InlineData(". {\n file db.example\n}", "no such file or directory")]
    [InlineData(". {\n import missing.conf\n}", "File to import not found: missing.conf")]
    [InlineData(". {\n errors\n", "Unexpected EOF")]
    [InlineData(". {\n log \"unclosed\n}", "never closed")]
    [InlineData("tls://. {\n errors\n}", "does not listen for tls://")]
    [InlineData(".:0 {\n errors\n}", "invalid port")]
    [InlineData(". {\n errors\n}\n.:53 {\n errors\n}", "it is already defined")]
    [InlineData("(a) {\n import a\n}\n. {\n import a\n}", "circles")]
    [InlineData("", "no server block")]
    public void Mistake_IsRefused_WithItsPlace(string text, string message)
    {
        var wrong = Assert.Throws<CorefileException>(() => new DnsBench(text));
        Assert.Contains(message, wrong.Message);
    }

    [Theory]
    [InlineData("30s", 30)]
    [InlineData("1h2m3.5s", 3723.5)]
    [InlineData("250ms", 0.25)]
    public void Duration_GoForm_IsRead(string text, double seconds) => Assert.Equal(seconds, CorefileDuration.Parse(text).TotalSeconds, 6);
}
