using System.Diagnostics;
using K3sFast.ApiMachinery;
using K3sFast.Datastore;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>Every request's way: who asks, may he, who answers; and what becomes of everything that is thrown on the way.</summary>
internal sealed class RequestPipeline(
    Authenticator authenticator, Authorizer authorizer, Impersonation impersonation, AuditLog? audit, RequestLimiter limiter, ResourceRouter resources,
    PathRouter paths, ISupervisorPaths? supervisor, ApiServerMetrics metrics, RequestLimits limits, StartGate gate, BrowserAccess browsers, TimeProvider clock, ILogger logger)
{
    // A certificate signing request with room to spare.
    private const int MaxSupervisorBodyBytes = 64 * 1024;

    /// <summary>A request over HTTP.</summary>
    internal async Task HandleAsync(HttpApiCall call)
    {
        var started = Stopwatch.GetTimestamp();
        metrics.Requests.Begin(call);
        Exception? failure = null;
        try
        {
            try
            {
                call.SetHeader("Audit-Id", call.AuditId);
                if (browsers.AnswersAtOnce(call))
                    return;
                if (!call.IsUnderstood)
                    throw (call.RawTarget.Length > RequestInfo.MaxTargetBytes
                        ? new ApiStatus { Code = 414, Reason = "", Message = "the request target is too long" }
                        : ApiStatus.BadRequest("the request target is not understandable: broken percent escapes")).ToException();
                if (!gate.IsOpen)
                    await gate.PassAsync(call).ConfigureAwait(false);
                if (supervisor is not null && supervisor.Owns(call.Info.Path))
                {
                    await AnswerSupervisorAsync(call).ConfigureAwait(false);
                    return;
                }
                limits.Apply(call);
                await IdentifyAsync(call, started).ConfigureAwait(false);
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
            catch (PlainTextException refused) when (!call.HasStarted)
            {
                await ResponseWriter.WriteTextAsync(call, refused.Code, refused.Message).ConfigureAwait(false);
            }
            catch (Exception error) when (StatusOf(error, call) is { } status)
            {
                if (IsUnexpected(error))
                    failure = error;
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
            if (call.Audit is not null)
            {
                call.TellAudit();
                await audit!.EndAsync(call, failure).ConfigureAwait(false);
            }
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
            if (audit is not null)
                await audit.BeginAsync(call, call.User).ConfigureAwait(false);
            await AnswerAsync(call).ConfigureAwait(false);
        }
        catch (PlainTextException refused)
        {
            await ResponseWriter.WriteStatusAsync(call, ApiStatus.InternalError(refused.Message.TrimEnd())).ConfigureAwait(false);
        }
        catch (Exception error) when (error is not OperationCanceledException && StatusOf(error, call) is { } status)
        {
            await ResponseWriter.WriteStatusAsync(call, status).ConfigureAwait(false);
        }
        finally
        {
            if (call.Audit is { } recorded)
            {
                if (recorded.WantsResponse)
                    recorded.ResponseObject = AuditObjects.Json(call.Answer.Span, ResponseFormat.Json, "", recorded.Verdict.OmitsManagedFields);
                await audit!.EndAsync(call, null).ConfigureAwait(false);
            }
            metrics.Requests.End(call, started);
        }
    }

    // Nodes have no place in the API yet when they ask here: no audit, no fairness, and credentials that only the answerer may know.
    private async Task AnswerSupervisorAsync(HttpApiCall call)
    {
        using var body = call.Method == "POST" ? await call.ReadBodyAsync(MaxSupervisorBodyBytes).ConfigureAwait(false) : null;
        var user = call.ClientCertificate is not null || call.Authorization?.StartsWith("Bearer ", StringComparison.Ordinal) == true
            ? await authenticator.AuthenticateAsync(call).ConfigureAwait(false)
            : null;
        var request = new SupervisorRequest(
            call.Method, System.Text.Encoding.UTF8.GetString(call.Info.Path), user, call.Authorization, call.RemoteAddress, body?.Written ?? default, call.Header);
        var answer = await supervisor!.AnswerAsync(request, call.Aborted).ConfigureAwait(false);
        call.Start(answer.StatusCode, answer.ContentType, answer.Body.Length);
        await call.Output.WriteAsync(answer.Body, call.Aborted).ConfigureAwait(false);
    }

    /// <summary>Begins a list or watch that a component of this process reads straight from the caches.</summary>
    internal async ValueTask BeginReadAsync(LocalApiCall call)
    {
        metrics.Requests.Begin(call);
        if (audit is not null)
            await audit.BeginAsync(call, call.User).ConfigureAwait(false);
    }

    /// <summary>Its answer begins.</summary>
    internal void StartRead(LocalApiCall call, ResourceInfo served)
    {
        call.Served = served;
        if (call.Info.Verb == Verb.Watch)
            metrics.Requests.BeginLongRunning(call);
        call.Start(200, ResponseFormat.Json, -1);
    }

    /// <summary>Ends it, with the refusal that it met or after the last of its answer.</summary>
    internal async ValueTask EndReadAsync(LocalApiCall call, ApiStatus? refusal, long started)
    {
        if (refusal is not null)
        {
            call.Audit?.SetStatus(refusal);
            if (!call.HasStarted)
                call.Start(refusal.Code, ResponseFormat.Json, -1);
        }
        if (audit is not null)
            await audit.EndAsync(call, null).ConfigureAwait(false);
        metrics.Requests.End(call, started);
    }

    // Who asks, what is recorded of it, and whom he speaks for.
    private async ValueTask IdentifyAsync(HttpApiCall call, long started)
    {
        var user = await authenticator.AuthenticateAsync(call).ConfigureAwait(false);
        metrics.Authenticated(user, call.ClientCertificate, started, clock);
        if (user is null)
        {
            if (audit is not null)
                await audit.NoteUnauthenticatedAsync(call).ConfigureAwait(false);
            call.CloseConnection();
            throw ApiStatus.Unauthorized().ToException();
        }
        if (ReferenceEquals(user, UserInfo.Anonymous))
            call.CloseConnection();
        call.User = user;
        if (audit is not null)
            await audit.BeginAsync(call, user).ConfigureAwait(false);
        await impersonation.ApplyAsync(call).ConfigureAwait(false);
        if (call.Audit is { } recorded && call.Impersonator is not null)
            (recorded.Impersonated, recorded.ImpersonationConstraint) = (call.User, call.ImpersonationConstraint);
    }

    private ValueTask AnswerAsync(ApiCall call)
    {
        var started = Stopwatch.GetTimestamp();
        var permission = authorizer.DemandAsync(AuthorizationAttributes.Of(call.Info, call.User), call);
        if (!permission.IsCompletedSuccessfully)
            return Awaited(permission, call, started);
        metrics.Authorized(true, started);
        return RouteAsync(call);

        async ValueTask Awaited(ValueTask pending, ApiCall waiting, long since)
        {
            var isAllowed = false;
            try
            {
                await pending.ConfigureAwait(false);
                isAllowed = true;
            }
            finally
            {
                metrics.Authorized(isAllowed, since);
            }
            await RouteAsync(waiting).ConfigureAwait(false);
        }
    }

    // Who may is asked of the path without its outer slashes; who answers, of the path as it came, and nobody serves one with a doubled first slash.
    private ValueTask RouteAsync(ApiCall call) => call.Info.Path.StartsWith("//"u8) ? ResponseWriter.WriteTextAsync(call, 404, "404 page not found\n")
        : call.Info.IsResourceRequest ? resources.RouteAsync(call) : paths.RouteAsync(call);

    private static bool IsUnexpected(Exception error) => error is not (ApiStatusException or OperationCanceledException or BadHttpRequestException or IOException);

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
            case DatastoreBusyException busy:
                return ApiStatus.TooManyRequests(busy.Message, 1);
            case DatastoreCorruptException or DatastoreTransformException:
                Log.RequestFailed(logger, error, call.Method, Target(call));
                return ApiStatus.InternalError(error.Message);
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
