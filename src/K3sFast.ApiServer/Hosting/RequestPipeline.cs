using System.Diagnostics;
using K3sFast.ApiMachinery;
using K3sFast.Datastore;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>Every request's way: who asks, may he, who answers; and what becomes of everything that is thrown on the way.</summary>
internal sealed class RequestPipeline(
    Authenticator authenticator, Authorizer authorizer, Impersonation impersonation, RequestLimiter limiter, ResourceRouter resources, PathRouter paths,
    ApiServerMetrics metrics, RequestLimits limits, TimeProvider clock, ILogger logger)
{
    /// <summary>A request over HTTP.</summary>
    internal async Task HandleAsync(HttpApiCall call)
    {
        var started = Stopwatch.GetTimestamp();
        metrics.Requests.Begin(call);
        try
        {
            try
            {
                if (!call.IsUnderstood)
                    throw (call.RawTarget.Length > RequestInfo.MaxTargetBytes
                        ? new ApiStatus { Code = 414, Reason = "", Message = "the request target is too long" }
                        : ApiStatus.BadRequest("the request target is not understandable: broken percent escapes")).ToException();
                limits.Apply(call);
                var user = authenticator.Authenticate(call);
                metrics.Authenticated(user, call.ClientCertificate, started, clock);
                call.User = user ?? throw ApiStatus.Unauthorized().ToException();
                impersonation.Apply(call);
                if (await limiter.EnterAsync(call).ConfigureAwait(false))
                    await AnswerAsync(call).ConfigureAwait(false);
            }
            catch (Exception error) when (call.IsTimedOut && error is OperationCanceledException)
            {
                if (call.HasStarted)
                    call.Features.GetRequiredFeature<IHttpRequestLifetimeFeature>().Abort();
                else
                    await RequestLimits.AnswerTimeoutAsync(call).ConfigureAwait(false);
            }
            catch (Exception error) when (StatusOf(error, call) is { } status)
            {
                if (call.HasStarted)
                    call.Features.GetRequiredFeature<IHttpRequestLifetimeFeature>().Abort();
                else
                    await ResponseWriter.WriteStatusAsync(call, status).ConfigureAwait(false);
            }
        }
        catch (Exception error) when (error is OperationCanceledException or IOException or Microsoft.AspNetCore.Connections.ConnectionResetException || call.IsGone)
        {
            // The client has gone; there is nobody to tell.
        }
        finally
        {
            call.ReleaseSeat();
            call.EndDeadline();
            metrics.Requests.End(call, started);
        }
    }

    /// <summary>A request of a component in this process, whose identity is known.</summary>
    internal async ValueTask HandleAsync(LocalApiCall call)
    {
        var started = Stopwatch.GetTimestamp();
        metrics.Requests.Begin(call);
        try
        {
            if (!call.IsUnderstood)
                throw ApiStatus.BadRequest("the request target is not understandable: broken percent escapes").ToException();
            await AnswerAsync(call).ConfigureAwait(false);
        }
        catch (Exception error) when (error is not OperationCanceledException && StatusOf(error, call) is { } status)
        {
            await ResponseWriter.WriteStatusAsync(call, status).ConfigureAwait(false);
        }
        finally
        {
            metrics.Requests.End(call, started);
        }
    }

    private ValueTask AnswerAsync(ApiCall call)
    {
        Demand(call);
        return call.Info.IsResourceRequest ? resources.RouteAsync(call) : paths.RouteAsync(call);
    }

    private void Demand(ApiCall call)
    {
        var started = Stopwatch.GetTimestamp();
        var isAllowed = false;
        try
        {
            authorizer.Demand(AuthorizationAttributes.Of(call.Info, call.User));
            isAllowed = true;
        }
        finally
        {
            metrics.Authorized(isAllowed, started);
        }
    }

    // Null = the client has gone.
    private ApiStatus? StatusOf(Exception error, ApiCall call)
    {
        switch (error)
        {
            case ApiStatusException refused:
                return refused.Status;
            case OperationCanceledException when call.IsGone:
                return null;
            case BadHttpRequestException { StatusCode: 413 }:
                return ApiStatus.RequestEntityTooLarge("the body is longer than the server reads");
            case BadHttpRequestException bad:
                return ApiStatus.BadRequest(bad.Message);
            case IOException or Microsoft.AspNetCore.Connections.ConnectionResetException when call.IsGone:
                return null;
            case DatastoreException store:
                Log.RequestFailed(logger, error, call.Method, Target(call));
                return ApiStatus.InternalError($"the datastore did not take the write: {store.Message}");
            default:
                Log.RequestFailed(logger, error, call.Method, Target(call));
                return ApiStatus.InternalError("unexpected error; the server's log has the details");
        }
    }

    private static string Target(ApiCall call) => System.Text.Encoding.UTF8.GetString(call.Info.Path);
}
