using System.Globalization;

namespace K3sFast.ApiServer;

/// <summary>One range of media types that a client accepts, with its parameters.</summary>
internal sealed record AcceptRange(string Type, string Subtype, double Quality, IReadOnlyDictionary<string, string> Parameters)
{
    internal string this[string parameter] => Parameters.GetValueOrDefault(parameter, "");

    internal bool Covers(string type, string subtype) => (Type == "*" || Type == type) && (Subtype == "*" || Subtype == subtype);
}

/// <summary>Accept headers of documents (RFC 9110 §12.5.1), cold; answers about objects are negotiated by <see cref="ResponseFormat"/>.</summary>
internal static class AcceptHeader
{
    /// <summary>The ranges, best first; no header accepts everything.</summary>
    internal static IEnumerable<AcceptRange> Parse(string? header)
    {
        var ranges = new List<AcceptRange>();
        foreach (var clause in (string.IsNullOrEmpty(header) ? "*/*" : header).Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = clause.Split(';', StringSplitOptions.TrimEntries);
            var slash = parts[0].IndexOf('/', StringComparison.Ordinal);
            if (slash < 0 && parts[0] != "*")
                continue;
            var parameters = new Dictionary<string, string>();
            foreach (var part in parts.AsSpan(1))
            {
                var equals = part.IndexOf('=', StringComparison.Ordinal);
                if (equals > 0)
                    parameters[part[..equals]] = part[(equals + 1)..].Trim('"');
            }
            var quality = parameters.TryGetValue("q", out var q) && double.TryParse(q, CultureInfo.InvariantCulture, out var value) ? value : 1;
            if (quality > 0)
                ranges.Add(slash < 0 ? new AcceptRange("*", "*", quality, parameters) : new AcceptRange(parts[0][..slash], parts[0][(slash + 1)..], quality, parameters));
        }
        // A stable sort: what the client named first stays first among equals.
        return ranges.OrderByDescending(static range => range.Quality).ThenBy(static range => range.Type == "*" ? 2 : range.Subtype == "*" ? 1 : 0);
    }
}
