using System.Text.RegularExpressions;

namespace K3sFast.ApiServer;

/// <summary>What browsers are told: which origins may use the API (CORS), and that it is to be reached by TLS alone (RFC 6797).</summary>
internal sealed class BrowserAccess(IReadOnlyList<string> allowedOrigins, string strictTransportSecurity)
{
    private readonly Regex[] _origins = [.. allowedOrigins.Select(static pattern => new Regex(pattern, RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1)))];

    /// <summary>Sets the headers; true when that was all: a browser only asked whether it may.</summary>
    internal bool AnswersAtOnce(HttpApiCall call)
    {
        if (strictTransportSecurity.Length > 0)
            call.SetHeader("Strict-Transport-Security", strictTransportSecurity);
        if (_origins.Length == 0 || call.Header("Origin") is not { Length: > 0 } origin || !Array.Exists(_origins, pattern => pattern.IsMatch(origin)))
            return false;
        call.SetHeader("Access-Control-Allow-Origin", origin);
        call.SetHeader("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE, PATCH");
        call.SetHeader("Access-Control-Allow-Headers", "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, If-Modified-Since");
        call.SetHeader("Access-Control-Expose-Headers", "Date");
        call.SetHeader("Access-Control-Allow-Credentials", "true");
        if (call.Method != "OPTIONS")
            return false;
        call.Start(204, "", 0);
        return true;
    }
}
