using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Security.Cryptography.X509Certificates;
using K3sFast.ApiMachinery;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace K3sFast.ApiServer;

/// <summary>A request that came over HTTP, read off Kestrel's features. One object serves all requests of a connection or stream in turn.</summary>
internal sealed class HttpApiCall : ApiCall
{
    private IHttpRequestFeature _request = null!;
    private IHttpResponseFeature _response = null!;
    private readonly CountingPipeWriter _output = new();
    private bool _hasOutput;
    private CancellationToken _stopping;
    private CancellationTokenSource? _deadline;
    private bool _hasDeadline;
    private TeePipeWriter? _tee;
    private SeatHold _seat;
    private Action? _slot;

    internal IFeatureCollection Features { get; private set; } = null!;

    internal bool IsUnderstood { get; private set; }

    internal override string? Accept => _request.Headers.Accept;

    internal override string? ContentType => _request.Headers.ContentType;

    internal override string? UserAgent => _request.Headers.UserAgent;

    internal override bool AcceptsGzip
    {
        get
        {
            var encodings = _request.Headers.AcceptEncoding.ToString().AsSpan();
            foreach (var range in encodings.Split(','))
            {
                if (encodings[range].Trim() is "gzip")
                    return true;
            }
            return false;
        }
    }

    internal override bool HasStarted => _response.HasStarted;

    /// <summary>For requests with a deadline: it has passed. A client that goes away ends their reads and writes by itself.</summary>
    internal override CancellationToken Aborted => _hasDeadline ? _deadline!.Token : Gone;

    /// <summary>Ends when the client goes away.</summary>
    internal CancellationToken Gone => Features.GetRequiredFeature<IHttpRequestLifetimeFeature>().RequestAborted;

    internal override bool IsGone => Gone.IsCancellationRequested;

    /// <summary>The deadline has passed.</summary>
    internal bool IsTimedOut => _hasDeadline && _deadline!.IsCancellationRequested;

    /// <summary>How long the request may take; zero = as long as its client wants.</summary>
    internal TimeSpan Timeout { get; private set; }

    internal override PipeWriter Output
    {
        get
        {
            if (!_hasOutput)
                _output.Begin(MakeOutput());
            _hasOutput = true;
            return _output;
        }
    }

    internal override long SentBytes => _hasOutput ? _output.Count : 0;

    internal override System.Net.IPAddress RemoteAddress =>
        Features.Get<IHttpConnectionFeature>()?.RemoteIpAddress is { } address ? address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address : base.RemoteAddress;

    internal string? Authorization => _request.Headers.Authorization;

    internal X509Certificate2? ClientCertificate => Features.Get<ITlsConnectionFeature>()?.ClientCertificate;

    internal IHeaderDictionary RequestHeaders => _request.Headers;

    /// <summary>The body, for who passes it on instead of reading it whole.</summary>
    internal PipeReader BodyReader => Features.Get<IRequestBodyPipeFeature>()?.Reader ?? PipeReader.Create(_request.Body);

    internal string RawTarget => _request.RawTarget;

    internal override CancellationToken Stopping => _stopping;

    internal void Begin(IFeatureCollection features, CancellationToken stopping)
    {
        Features = features;
        _stopping = stopping;
        _request = features.GetRequiredFeature<IHttpRequestFeature>();
        _response = features.GetRequiredFeature<IHttpResponseFeature>();
        _hasOutput = false;
        _tee = null;
        // Behind a proxy the target may be absolute; only path and query count.
        var target = _request.RawTarget.AsSpan();
        if (target.Length > 0 && target[0] != '/' && target.IndexOf("://") is > 0 and var scheme)
        {
            var slash = target[(scheme + 3)..].IndexOf('/');
            target = slash < 0 ? "/" : target[(scheme + 3 + slash)..];
        }
        IsUnderstood = TryBegin(_request.Method, target);
    }

    /// <summary>From now on the request has this long. The source is kept for the connection's next request.</summary>
    internal void StartDeadline(TimeSpan timeout)
    {
        _deadline ??= new CancellationTokenSource();
        _deadline.CancelAfter(timeout);
        _hasDeadline = true;
        Timeout = timeout;
    }

    internal void EndDeadline()
    {
        Timeout = TimeSpan.Zero;
        if (!_hasDeadline)
            return;
        _hasDeadline = false;
        if (_deadline!.TryReset())
            return;
        _deadline.Dispose();
        _deadline = null;
    }

    /// <summary>Keeps what the request holds of its priority level.</summary>
    internal void Hold(in SeatHold seat) => _seat = seat;

    /// <summary>Keeps what gives a counted place back.</summary>
    internal void HoldSlot(Action giveBack) => _slot = giveBack;

    internal override void ReleaseSeat()
    {
        var seat = _seat;
        _seat = default;
        seat.Level?.Leave(seat);
        seat.Measured?.Ended(seat.Seats, seat.IsWatch, seat.IsMutating, seat.MeasuredFrom);
        var slot = _slot;
        _slot = null;
        slot?.Invoke();
    }

    /// <summary>The answer is 101 and what follows is not HTTP.</summary>
    internal void NoteUpgraded()
    {
        AnsweredStatus = 101;
        Audit?.NoteStarted(101);
    }

    /// <summary>The connection ends after this answer: who has not said who he is shall not hold it.</summary>
    internal void CloseConnection()
    {
        if (Features.Get<IHttpRequestFeature>()?.Protocol != "HTTP/2")
            return;
        Features.Get<LingeringClose>()?.Want();
        Features.Get<Microsoft.AspNetCore.Connections.Features.IConnectionLifetimeNotificationFeature>()?.RequestClose();
    }

    /// <summary>Hands the audit event what was answered.</summary>
    internal void TellAudit()
    {
        if (Audit is { } audit && _tee is { } tee)
            audit.ResponseObject = AuditObjects.Json(tee.Copied, _response.Headers.ContentType, _response.Headers.ContentEncoding.ToString(), audit.Verdict.OmitsManagedFields);
    }

    private PipeWriter MakeOutput()
    {
        var writer = Features.GetRequiredFeature<IHttpResponseBodyFeature>().Writer;
        if (Audit is not { WantsResponse: true })
            return writer;
        _tee = new TeePipeWriter(writer);
        return _tee;
    }

    internal override string ClientName => WriteOptions.NameOf(_request.Headers.UserAgent);

    internal override string? Header(string name) => _request.Headers.TryGetValue(name, out var value) ? value.ToString() : null;

    internal override void SetHeader(string name, string value) => _response.Headers[name] = value;

    internal override void Start(int statusCode, string contentType, long length)
    {
        AnsweredStatus = statusCode;
        Audit?.NoteStarted(statusCode);
        _response.StatusCode = statusCode;
        var headers = _response.Headers;
        if (contentType.Length > 0)
            headers.ContentType = contentType;
        if (headers.CacheControl.Count == 0)
            headers.CacheControl = "no-cache, private";
        if (length >= 0)
            headers.ContentLength = length;
        foreach (var warning in Warnings)
            headers.Append("Warning", $"299 - \"{EscapeWarning(warning)}\"");
    }

    internal override async ValueTask<PooledBuffer> ReadBodyAsync(long limitBytes)
    {
        if (_request.Headers.ContentLength > limitBytes)
            throw ApiStatus.RequestEntityTooLarge(limitBytes).ToException();
        var body = new PooledBuffer((int)Math.Min(_request.Headers.ContentLength ?? 4096, limitBytes) + 1);
        try
        {
            var reader = BodyReader;
            while (true)
            {
                var read = await reader.ReadAsync(Aborted).ConfigureAwait(false);
                if (body.Length + read.Buffer.Length > limitBytes)
                {
                    reader.AdvanceTo(read.Buffer.End);
                    throw ApiStatus.RequestEntityTooLarge(limitBytes).ToException();
                }
                foreach (var segment in read.Buffer)
                    body.Write(segment.Span);
                reader.AdvanceTo(read.Buffer.End);
                if (!read.IsCompleted)
                    continue;
                ReceivedBytes = body.Length;
                Audit?.SetRequestBody(body.Span, ContentType);
                return body;
            }
        }
        catch
        {
            body.Dispose();
            throw;
        }
    }

    private static string EscapeWarning(string text)
    {
        var clean = string.Create(text.Length, text, static (span, source) =>
        {
            for (var i = 0; i < span.Length; i++)
                span[i] = char.IsControl(source[i]) || source[i] > '~' ? ' ' : source[i];
        });
        return clean.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal);
    }
}
