namespace K3sFast.Configuration;

/// <summary>What <c>k3sfast agent</c> was told to be. Immutable; made once at start.</summary>
internal sealed class AgentConfig : NodeConfig
{
    private AgentConfig(FlagValues flags) : base(flags)
    {
        if (Token.Length == 0)
            throw new ConfigurationException("--token is required: give the content of server/node-token in the data directory of a server (default /var/lib/rancher/k3s/server/node-token), by --token, --token-file or K3S_TOKEN");
        Server = ServerUrl(flags.Text("server"));
        HasLoadBalancer = !flags.IsOn("disable-apiserver-lb");
    }

    /// <summary>The server to join by, scheme https, no path.</summary>
    public Uri Server { get; }

    /// <summary>False speaks to <see cref="Server"/> alone.</summary>
    public bool HasLoadBalancer { get; }

    /// <exception cref="ConfigurationException">A value is missing or malformed.</exception>
    public static new AgentConfig From(FlagValues flags) => new(flags);

    private static Uri ServerUrl(string text)
    {
        if (text.Length == 0)
            throw new ConfigurationException("--server is required: give the URL of a server, such as https://192.0.2.1:6443, by --server or K3S_URL");
        if (!Uri.TryCreate(text, UriKind.Absolute, out var url))
            throw new ConfigurationException($"Invalid server url, failed to parse: {text}");
        if (url.Scheme != Uri.UriSchemeHttps)
            throw new ConfigurationException($"only https:// URLs are supported, invalid scheme: {text}");
        // Without a port a URL means 443, as in k3s.
        return new UriBuilder(Uri.UriSchemeHttps, url.Host, url.Port).Uri;
    }
}
