namespace K3sFast.ApiServer;

/// <summary>
/// Links of a proxied page, led through the proxy: those that name its own host or none and begin at the root get the path in front under which the
/// client sees the page. The rules are upstream's.
/// </summary>
internal sealed class ProxyLinks(string prefix, string backendHost, string requestHost)
{
    /// <summary>The link as the client needs it; what leads elsewhere, is relative or is no link stays as it is.</summary>
    internal string Rewrite(string link)
    {
        var start = SchemeEnd(link);
        var host = "";
        var pathStart = start;
        if (link.AsSpan(start).StartsWith("//"))
        {
            var end = link.AsSpan(start + 2).IndexOfAny('/', '?', '#');
            pathStart = end < 0 ? link.Length : start + 2 + end;
            host = link[(start + 2)..pathStart];
        }
        var isElsewhere = host.Length > 0 && host != backendHost && host != requestHost;
        if (isElsewhere || pathStart == link.Length || link[pathStart] != '/')
            return link;
        var pathEnd = link.AsSpan(pathStart).IndexOfAny('?', '#') is >= 0 and var query ? pathStart + query : link.Length;
        var path = link[pathStart..pathEnd];
        if (!path.StartsWith(prefix, StringComparison.Ordinal))
            path = prefix + ProxyPath.Clean(path);
        // A link that names the server as the client does stays whole; the backend's own name means nothing to the client.
        var authority = host.Length > 0 && host == requestHost ? link[..pathStart] : "";
        return string.Concat(authority, path, link.AsSpan(pathEnd));
    }

    // Behind "name:"; 0 when there is no scheme. RFC 3986 §3.1.
    private static int SchemeEnd(string link)
    {
        for (var i = 0; i < link.Length; i++)
        {
            var letter = link[i];
            if (letter == ':' && i > 0)
                return i + 1;
            if (!char.IsAsciiLetter(letter) && (i == 0 || !char.IsAsciiDigit(letter) && letter is not ('+' or '-' or '.')))
                return 0;
        }
        return 0;
    }
}
