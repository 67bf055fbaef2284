using System.Globalization;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The Status that upstream makes of an HTTP code of somebody who speaks no Status himself.</summary>
internal static class BackendStatus
{
    internal static ApiStatus Of(int code, string resource, string name, string text)
    {
        var (reason, message) = code switch
        {
            400 => ("BadRequest", "the server rejected our request for an unknown reason"),
            401 => ("Unauthorized", "the server has asked for the client to provide credentials"),
            // Who may not do what is told best by who refused.
            403 => ("Forbidden", text),
            404 => ("NotFound", "the server could not find the requested resource"),
            405 => ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
            406 => ("NotAcceptable", text is "" or "unknown" ? "the server was unable to respond with a content type that the client supports" : text),
            409 => ("Conflict", "the server reported a conflict"),
            415 => ("UnsupportedMediaType", text),
            422 => ("Invalid", "the server rejected our request due to an error in our request"),
            429 => ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "the server was unable to return a response in the time allotted, but may still be processing the request"),
            >= 500 => ("InternalError", $"an error on the server ({GoText.Quote(text)}) has prevented the request from succeeding"),
            _ => ("", string.Create(CultureInfo.InvariantCulture, $"the server responded with the status code {code} but did not return more information")),
        };
        // The empty word in front is the verb, which is not known here.
        return new ApiStatus { Code = code, Reason = reason, HasDetails = true, Kind = resource, Name = name, Message = $"{message} ( {resource} {name})" };
    }
}
