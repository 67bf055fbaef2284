namespace K3sFast.AddOns.Dns;

/// <summary>The Corefile that a cluster is born with: k3s' own.</summary>
internal static class DefaultCorefile
{
    internal static string For(string domain) => $$"""
        .:53 {
            errors
            health
            ready
            kubernetes {{domain}} in-addr.arpa ip6.arpa {
              pods insecure
              fallthrough in-addr.arpa ip6.arpa
            }
            hosts /etc/coredns/NodeHosts {
              ttl 60
              reload 15s
              fallthrough
            }
            prometheus :9153
            cache 30
            loop
            reload
            loadbalance
            import /etc/coredns/custom/*.override
            forward . /etc/resolv.conf
        }
        import /etc/coredns/custom/*.server

        """;
}
