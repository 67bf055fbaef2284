using System.Collections.Immutable;
using System.IO.Pipelines;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// One request on its way through the pipeline, whatever brought it: Kestrel (<see cref="HttpApiCall"/>) or a component of this process
/// (<see cref="LocalApiCall"/>). Reused by its owner; nobody keeps it after the answer.
/// </summary>
/// <remarks>One thread at a time, but for warnings and audit notes.</remarks>
internal abstract class ApiCall
{
    private const int MaxKeptTargetBytes = 8 * 1024;

    private byte[] _target = [];
    private string? _auditId;
    private ImmutableList<string> _warnings = [];

    internal RequestInfo Info { get; private set; }

    internal string Method { get; private protected set; } = "";

    internal UserInfo User { get; set; } = null!;

    /// <summary>The user that authenticated, when <see cref="User"/> is impersonated.</summary>
    internal UserInfo? Impersonator { get; set; }

    /// <summary>By which constrained way the user is impersonated; "" for the old way.</summary>
    internal string ImpersonationConstraint { get; set; } = "";

    /// <summary>What the audit log is told about this request; null when nothing.</summary>
    internal AuditEvent? Audit { get; set; }

    /// <summary>The resource that the router found; null for paths and unknown resources.</summary>
    internal ResourceInfo? Served { get; set; }

    /// <summary>The status code that the answer began with; 0 when there was none.</summary>
    internal int AnsweredStatus { get; private protected set; }

    /// <summary>Bytes of the body that was read.</summary>
    internal long ReceivedBytes { get; private protected set; }

    /// <summary>Bytes of the answer's body so far.</summary>
    internal virtual long SentBytes => 0;

    /// <summary>The gauge that counts this request among the long-running ones; null when it is none.</summary>
    internal K3sFast.Client.Gauge? LongRunning { get; set; }

    internal abstract string? Accept { get; }

    internal abstract string? ContentType { get; }

    internal virtual string? UserAgent => null;

    internal abstract bool AcceptsGzip { get; }

    internal abstract bool HasStarted { get; }

    /// <summary>Ends when the answer is no longer wanted: the client went away, or the request's time is over.</summary>
    internal abstract CancellationToken Aborted { get; }

    /// <summary>The client has gone away.</summary>
    internal virtual bool IsGone => Aborted.IsCancellationRequested;

    /// <summary>Ends when the server begins to stop: long answers finish early then.</summary>
    internal virtual CancellationToken Stopping => CancellationToken.None;

    /// <summary>Where the body of the answer goes, after <see cref="Start"/>.</summary>
    internal abstract PipeWriter Output { get; }

    /// <summary>What the client calls itself, for the owners of fields; "" when it does not say.</summary>
    internal abstract string ClientName { get; }

    internal IReadOnlyList<string> Warnings => _warnings;

    /// <summary>Gives back what the request limits hold for this request, before its end: a watch that has begun costs no more.</summary>
    internal virtual void ReleaseSeat()
    {
    }

    /// <summary>Reads the whole body; more than the limit is refused with 413.</summary>
    internal abstract ValueTask<PooledBuffer> ReadBodyAsync(long limitBytes);

    /// <summary>Sets a header of the answer; before <see cref="Start"/>.</summary>
    internal abstract void SetHeader(string name, string value);

    /// <summary>Begins the answer; a length of -1 is not known beforehand.</summary>
    internal abstract void Start(int statusCode, string contentType, long length);

    internal abstract string? Header(string name);

    /// <summary>Where the request came from.</summary>
    internal virtual System.Net.IPAddress RemoteAddress => System.Net.IPAddress.Loopback;

    /// <summary>Path and query as text, for messages.</summary>
    internal string TargetText => Info.Query.IsEmpty
        ? Encoding.UTF8.GetString(Info.Path) : $"{Encoding.UTF8.GetString(Info.Path)}?{Encoding.UTF8.GetString(Info.Query)}";

    /// <summary>The name of the request in the audit log and in the answer's header. A client may give one, to find the request again behind proxies.</summary>
    internal string AuditId => _auditId ??= Header("Audit-Id") is { Length: > 0 and <= 64 } given ? given : UniqueIds.Next();

    /// <summary>Tells the client something beside the answer; the same is told once. Deletions of a collection run side by side.</summary>
    internal void AddWarning(string text) =>
        ImmutableInterlocked.Update(ref _warnings, static (told, text) => told.Contains(text) ? told : told.Add(text), text);

    /// <summary>Adds a note to the request's audit event; an event keeps the first of a name. Free when the request is not audited.</summary>
    internal void Annotate(string key, string value) => Audit?.Annotate(key, value);

    /// <summary>Takes a new request. False when the target is not understandable.</summary>
    private protected bool TryBegin(string method, ReadOnlySpan<char> target)
    {
        Method = method;
        _auditId = null;
        _warnings = [];
        User = null!;
        Impersonator = null;
        ImpersonationConstraint = "";
        Audit = null;
        Served = null;
        AnsweredStatus = 0;
        ReceivedBytes = 0;
        LongRunning = null;
        var length = Encoding.UTF8.GetByteCount(target);
        if (length > RequestInfo.MaxTargetBytes)
            return false;
        // A long target's buffer is not kept for the short ones that follow.
        if (_target.Length < length || _target.Length > MaxKeptTargetBytes && length <= MaxKeptTargetBytes)
            _target = new byte[Math.Max(256, length)];
        Encoding.UTF8.GetBytes(target, _target);
        if (!RequestInfo.TryParse(_target, length, method, out var info))
            return false;
        Info = info;
        return true;
    }

    internal bool QueryBool(ReadOnlySpan<byte> name) => QueryReader.GetBool(Info.Query, name);

    internal string? QueryString(ReadOnlySpan<byte> name) => QueryReader.GetString(Info.Query, name);

    /// <summary>A whole number parameter; refuses what is none, in the words of upstream's conversion.</summary>
    internal long? QueryInt64(ReadOnlySpan<byte> name)
    {
        if (QueryReader.TryGetInt64(Info.Query, name, out var value))
            return value;
        var text = QueryString(name) ?? "";
        var isNumber = text.Length > 0 && !text.AsSpan(text[0] is '-' or '+' ? 1 : 0).ContainsAnyExceptInRange('0', '9');
        throw ApiStatus.BadRequest($"strconv.ParseInt: parsing {GoText.Quote(text)}: {(isNumber ? "value out of range" : "invalid syntax")}").ToException();
    }
}
