using Grpc.Core;

namespace K3sFast.Datastore.Etcd;

/// <summary>
/// What etcd's errors mean for the caller. The texts are etcd's wire contract (<c>etcd/api/v3rpc/rpctypes/error.go</c>).
/// </summary>
internal static class EtcdErrors
{
    public static bool IsCompacted(RpcException error) => Says(error, "required revision has been compacted");

    public static bool IsFuture(RpcException error) => Says(error, "required revision is a future revision");

    public static bool IsFull(RpcException error) => Says(error, "database space exceeded");

    public static bool IsLeaseGone(RpcException error) => Says(error, "requested lease not found");

    public static bool IsTokenInvalid(RpcException error) => Says(error, "invalid auth token") || Says(error, "auth: revision in header is old");

    public static bool IsTooLarge(RpcException error) =>
        Says(error, "request is too large") || (error.StatusCode == StatusCode.ResourceExhausted && Says(error, "larger than max"));

    /// <summary>The request was certainly not carried out: a write may be sent again.</summary>
    public static bool IsUnsent(RpcException error) =>
        !IsUntrusted(error) && (Says(error, "Error connecting to subchannel") || Says(error, "etcdserver: no leader") || Says(error, "etcdserver: too many requests") || Says(error, "etcdserver: server stopped")
        || (error.StatusCode is StatusCode.Unavailable or StatusCode.Internal && HasNotConnected(error.Status.DebugException)));

    /// <summary>Another member, or the same a little later, may answer a question that this one did not.</summary>
    public static bool IsWorthAnotherTry(RpcException error) =>
        (!IsUntrusted(error) && error.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.Internal)
        || (error.StatusCode is StatusCode.Unknown or StatusCode.ResourceExhausted && Says(error, "etcdserver: "))
        || IsUnsent(error);

    /// <summary>TLS failed: the wrong authority or no certificate. It will fail the next time as well.</summary>
    private static bool IsUntrusted(RpcException error)
    {
        for (var inner = error.Status.DebugException; inner is not null; inner = inner.InnerException)
        {
            if (inner is System.Security.Authentication.AuthenticationException) return true;
        }
        return false;
    }

    private static bool HasNotConnected(Exception? error)
    {
        for (; error is not null; error = error.InnerException)
        {
            if (error is HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.NameResolutionError or HttpRequestError.SecureConnectionError }) return true;
        }
        return false;
    }

    private static bool Says(RpcException error, string words) => error.Status.Detail.Contains(words, StringComparison.Ordinal);
}
