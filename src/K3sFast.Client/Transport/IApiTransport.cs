using System.Text.Json.Serialization.Metadata;

namespace K3sFast.Client;

/// <summary>
/// The one road to the API. Two implementations: the API server's pipeline below HTTP, in the same process and with a component's
/// identity, and <see cref="HttpApiTransport"/> over TLS. Callers cannot tell them apart but by speed.
/// </summary>
/// <remarks>Any thread. Refusals of the API are answers (<see cref="ApiResponse.StatusCode"/>), not exceptions; a broken connection throws
/// <see cref="IOException"/> or <see cref="HttpRequestException"/>.</remarks>
public interface IApiTransport
{
    /// <summary>One request, answered whole.</summary>
    ValueTask<ApiResponse> SendAsync(ApiRequest request, CancellationToken cancellationToken);

    /// <summary>A list whose items stay encoded until somebody decodes them. Refusals throw <see cref="ApiException"/>.</summary>
    ValueTask<EncodedList> ListAsync(string pathAndQuery, CancellationToken cancellationToken);

    /// <summary>
    /// A watch: <paramref name="pathAndQuery"/> carries <c>watch=true</c>, selectors and <c>resourceVersion</c>. Ends without an exception when
    /// the server closes it; a refusal, also one that comes as an ERROR event (410 Expired), throws <see cref="ApiException"/>.
    /// </summary>
    IAsyncEnumerable<WatchFrame> WatchAsync(string pathAndQuery, CancellationToken cancellationToken);
}

/// <summary>A request as every transport takes it. <paramref name="PathAndQuery"/> is escaped and starts with a slash.</summary>
public readonly record struct ApiRequest(string Method, string PathAndQuery, ReadOnlyMemory<byte> Body = default, string? ContentType = null);

/// <summary>An answer: HTTP status code and JSON body (an object, or a <c>Status</c> for refusals).</summary>
public readonly record struct ApiResponse(int StatusCode, ReadOnlyMemory<byte> Body)
{
    /// <summary>True for 2xx.</summary>
    public bool IsSuccess => StatusCode is >= 200 and < 300;
}

/// <summary>One object in its encoded form. In process, all users of one revision share one decoded instance: treat it as immutable.</summary>
public abstract class EncodedObject
{
    /// <summary>The object as <typeparamref name="T"/>, decoded at most once per type and revision where the transport can share it.</summary>
    /// <exception cref="System.Text.Json.JsonException">The bytes do not fit the type.</exception>
    public abstract T Decode<T>(JsonTypeInfo<T> type) where T : class;

    /// <summary>The object for who looks at many of them once, with a type of his own: nothing is kept for others to share. Instead of <see cref="Decode"/>, once.</summary>
    /// <exception cref="System.Text.Json.JsonException">The bytes do not fit the type.</exception>
    public virtual T DecodeAlone<T>(JsonTypeInfo<T> type) where T : class => Decode(type);

    /// <summary>
    /// The object for who keeps many of them for long: where the transport has the bytes at hand anyway, they are what is kept, and each use decodes
    /// them. Null = the transport has nothing better than the decoded form. Instead of <see cref="Decode"/>, once; the caller disposes it.
    /// </summary>
    public virtual KeptObject<T>? Keep<T>(JsonTypeInfo<T> type) where T : class => null;
}

/// <summary>An object that is kept in its encoded form. Disposed by its owner when nobody reads it any more.</summary>
public abstract class KeptObject<T> : IDisposable where T : class
{
    /// <summary>Namespace and name. Makes strings.</summary>
    public abstract ObjectKey Key { get; }

    /// <summary><see cref="ObjectKey.HashOf"/> of the key.</summary>
    public abstract int KeyHash { get; }

    /// <summary>True if the object's key is this one. Makes no strings.</summary>
    public abstract bool IsAt(ObjectKey key);

    /// <summary>The object, decoded unless somebody in the process holds it decoded already. Some microseconds per KB: ask once and hold it meanwhile.</summary>
    public abstract T Decode(JsonTypeInfo<T> type);

    /// <summary>Gives the bytes back.</summary>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the bytes back, once.</summary>
    protected abstract void Dispose(bool disposing);
}

/// <summary>A list's revision, its items in key order, and the token of the next page (null = whole).</summary>
public sealed record EncodedList(string ResourceVersion, IReadOnlyList<EncodedObject> Items, string? Continue);

/// <summary>What a watch event says.</summary>
public enum WatchFrameType : byte
{
    /// <summary>The object appeared (or began to match the selector).</summary>
    Added,

    /// <summary>The object changed.</summary>
    Modified,

    /// <summary>The object is gone (or no longer matches); its last state is carried.</summary>
    Deleted,

    /// <summary>No change: everything up to the carried object's resourceVersion has been seen.</summary>
    Bookmark,
}

/// <summary>One watch event.</summary>
public readonly record struct WatchFrame(WatchFrameType Type, EncodedObject Object);
