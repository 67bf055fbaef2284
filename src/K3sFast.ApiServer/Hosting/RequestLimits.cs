using System.Buffers;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>What every request over HTTP is given: a deadline, unless it is long-running, and now and then a hint to reconnect.</summary>
internal sealed class RequestLimits(TimeSpan requestTimeout, double goAwayChance)
{
    internal void Apply(HttpApiCall call)
    {
        // A connection that is told so takes no new requests; its client reconnects, perhaps to another server.
        if (goAwayChance > 0 && Random.Shared.NextDouble() < goAwayChance)
            call.CloseConnection();
        if (RequestLimiter.IsLongRunning(call.Info))
            return;
        var timeout = requestTimeout;
        if (call.Info.TryGetQuery("timeout"u8, out var asked) && !asked.IsEmpty)
        {
            if (!GoDuration.TryParse(PercentEncoding.DecodeQuery(asked), out var wanted, out var why))
                throw ApiStatus.BadRequest($"invalid timeout specified in the request URL - {why}").ToException();
            if (wanted > TimeSpan.Zero && wanted < requestTimeout)
                timeout = wanted;
        }
        call.StartDeadline(timeout);
    }

    /// <summary>504 as upstream's timeout handler writes it: a status without kind, whose type the HTTP library guesses from its text.</summary>
    internal static async ValueTask AnswerTimeoutAsync(HttpApiCall call)
    {
        var body = """{"metadata":{},"status":"Failure","message":"Timeout: request did not complete within the allotted timeout","reason":"Timeout","details":{},"code":504}"""u8;
        call.Start(504, "text/plain; charset=utf-8", body.Length + 1);
        call.Output.Write(body);
        call.Output.Write("\n"u8);
        await call.Output.FlushAsync(CancellationToken.None).ConfigureAwait(false);
    }
}
