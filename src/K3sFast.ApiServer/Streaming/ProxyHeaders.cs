using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace K3sFast.ApiServer;

/// <summary>Which headers pass between a client and a backend, and which are between him and us.</summary>
internal static class ProxyHeaders
{
    // RFC 9110 §7.6.1 and what RFC 2616 §13.5.1 named: they are about one connection.
    private static readonly string[] s_hopByHop =
        ["Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "Upgrade"];

    // Pages of pods share our origin; they may not open it to other pages.
    private static readonly string[] s_crossOrigin =
        ["Access-Control-Allow-Credentials", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Origin"];

    /// <summary>Who the client is, and as whom he acts, is between him and us.</summary>
    internal static bool IsIdentity(string name) =>
        name.Equals("Authorization", StringComparison.OrdinalIgnoreCase)
        || name.StartsWith("Impersonate-", StringComparison.OrdinalIgnoreCase)
        || name.StartsWith("X-Remote-", StringComparison.OrdinalIgnoreCase);

    /// <summary>The client's headers for a backend. Content headers go to the content when there is one.</summary>
    /// <remarks>Kestrel shortens a Connection header that says close or keep-alive to that word: what else it named is then not known, and passes.</remarks>
    internal static void CopyRequest(HttpApiCall call, HttpRequestMessage request)
    {
        var named = Named(call.RequestHeaders.Connection);
        foreach (var (name, values) in call.RequestHeaders)
        {
            if (name.StartsWith(':') || IsIdentity(name) || IsHopByHop(name, named) || name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase)
                || name.Equals("X-Forwarded-For", StringComparison.OrdinalIgnoreCase) || name.Equals("Expect", StringComparison.OrdinalIgnoreCase))
                continue;
            if (!request.Headers.TryAddWithoutValidation(name, (IEnumerable<string?>)values))
                (request.Content ??= new ByteArrayContent([])).Headers.TryAddWithoutValidation(name, (IEnumerable<string?>)values);
        }
        // The one value of TE that is about more than the next hop.
        if (call.RequestHeaders.TE.ToString().Contains("trailers", StringComparison.OrdinalIgnoreCase))
            request.Headers.TryAddWithoutValidation("TE", "trailers");
        request.Headers.TryAddWithoutValidation("X-Forwarded-For", ForwardedFor(call));
    }

    /// <summary>The backend's headers for the client.</summary>
    internal static void CopyResponse(HttpResponseMessage response, IHeaderDictionary headers)
    {
        var named = response.Headers.NonValidated.TryGetValues("Connection", out var connection) ? Named(new StringValues([.. connection])) : [];
        foreach (var (name, values) in response.Headers.NonValidated)
        {
            if (!IsHopByHop(name, named) && !Contains(s_crossOrigin, name))
                headers.Append(name, new StringValues([.. values]));
        }
        foreach (var (name, values) in response.Content.Headers.NonValidated)
            headers.Append(name, new StringValues([.. values]));
    }

    /// <summary>X-Forwarded-For with the client's address behind what came.</summary>
    internal static string ForwardedFor(HttpApiCall call)
    {
        var client = call.Features.Get<IHttpConnectionFeature>()?.RemoteIpAddress;
        var address = client is { IsIPv4MappedToIPv6: true } ? client.MapToIPv4().ToString() : client?.ToString() ?? "";
        var earlier = string.Join(", ", call.RequestHeaders["X-Forwarded-For"].ToArray());
        return earlier.Length == 0 ? address : $"{earlier}, {address}";
    }

    private static bool IsHopByHop(string name, string[] named) => Contains(s_hopByHop, name) || Contains(named, name);

    private static string[] Named(StringValues connection) =>
        connection.Count == 0 ? [] : connection.ToString().Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    private static bool Contains(string[] names, string name)
    {
        foreach (var candidate in names)
        {
            if (candidate.Equals(name, StringComparison.OrdinalIgnoreCase))
                return true;
        }
        return false;
    }
}
