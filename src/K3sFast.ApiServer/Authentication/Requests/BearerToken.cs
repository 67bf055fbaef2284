using System.Buffers.Text;
using System.Text;
using Microsoft.Extensions.Primitives;

namespace K3sFast.ApiServer;

/// <summary>Where a request carries its token: the Authorization header, or a WebSocket's subprotocols, since browsers cannot set that header there.</summary>
internal static class BearerToken
{
    private const string ProtocolPrefix = "base64url.bearer.authorization.k8s.io.";

    /// <summary>The header's token; "" when there is none.</summary>
    internal static string OfHeader(HttpApiCall call)
    {
        var header = call.Authorization.AsSpan().Trim();
        var space = header.IndexOf(' ');
        if (space < 0 || !header[..space].Equals("bearer", StringComparison.OrdinalIgnoreCase))
            return "";
        var rest = header[(space + 1)..];
        var end = rest.IndexOf(' ');
        if (end == 0)
            call.AddWarning("the provided Authorization header contains extra space before the bearer token, and is ignored");
        return (end < 0 ? rest : rest[..end]).ToString();
    }

    /// <summary>The subprotocols' token, "" when there is none; or why the subprotocols are wrong.</summary>
    internal static (string Token, string? Error) OfProtocols(HttpApiCall call, out StringValues others)
    {
        others = default;
        if (!call.RequestHeaders.TryGetValue("Sec-WebSocket-Protocol", out var values)
            || !call.RequestHeaders.Upgrade.ToString().Equals("websocket", StringComparison.OrdinalIgnoreCase))
            return ("", null);
        string? token = null;
        var kept = new List<string>();
        foreach (var protocol in values.ToString().Split(',', StringSplitOptions.TrimEntries))
        {
            if (!protocol.StartsWith(ProtocolPrefix, StringComparison.Ordinal))
            {
                kept.Add(protocol);
                continue;
            }
            if (token is not null)
                return ("", "multiple base64.bearer.authorization tokens specified");
            try
            {
                token = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(Base64Url.DecodeFromChars(protocol.AsSpan(ProtocolPrefix.Length)));
            }
            catch (FormatException)
            {
                return ("", "invalid base64.bearer.authorization token encoding");
            }
            catch (DecoderFallbackException)
            {
                return ("", "invalid base64.bearer.authorization token");
            }
        }
        if (token is { Length: > 0 } && kept.Count == 0)
            return ("", "missing additional subprotocol");
        others = string.Join(',', kept);
        return (token ?? "", null);
    }
}
