using System.Buffers;
using System.IO.Pipelines;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>A request of a component in this process: the body is given, the answer is collected in memory.</summary>
internal sealed class LocalApiCall : ApiCall
{
    private readonly ReadOnlyMemory<byte> _body;
    private readonly string? _contentType;
    private readonly BufferPipeWriter _output = new();
    private bool _hasStarted;

    internal LocalApiCall(UserInfo user, string method, string pathAndQuery, ReadOnlyMemory<byte> body, string? contentType, CancellationToken aborted)
    {
        IsUnderstood = TryBegin(method, pathAndQuery);
        User = user;
        _body = body;
        _contentType = contentType;
        Aborted = aborted;
    }

    internal bool IsUnderstood { get; }

    internal ReadOnlyMemory<byte> Answer => _output.Written;

    internal override string? Accept => "application/json";

    internal override string? ContentType => _contentType;

    internal override bool AcceptsGzip => false;

    // The programs that do this work in a cluster of many processes.
    internal override string ClientName => User.Name switch
    {
        "system:admin" or "system:apiserver" => FieldOwner.ApiServerManager,
        var name when name.StartsWith("system:node:", StringComparison.Ordinal) => "kubelet",
        var name when name.StartsWith("system:serviceaccount:kube-system:", StringComparison.Ordinal) => "kube-controller-manager",
        var name when name.StartsWith("system:", StringComparison.Ordinal) => name["system:".Length..],
        var name => name,
    };

    internal override bool HasStarted => _hasStarted;

    internal override long SentBytes => _output.Written.Length;

    internal override CancellationToken Aborted { get; }

    internal override PipeWriter Output => _output;

    internal override ValueTask<PooledBuffer> ReadBodyAsync(long limitBytes)
    {
        if (_body.Length > limitBytes)
            throw ApiStatus.RequestEntityTooLarge(limitBytes).ToException();
        var buffer = new PooledBuffer(Math.Max(1, _body.Length));
        buffer.Write(_body.Span);
        ReceivedBytes = _body.Length;
        Audit?.SetRequestBody(_body.Span, _contentType);
        return ValueTask.FromResult(buffer);
    }

    internal override void SetHeader(string name, string value)
    {
    }

    internal override void Start(int statusCode, string contentType, long length)
    {
        AnsweredStatus = statusCode;
        Audit?.NoteStarted(statusCode);
        _hasStarted = true;
    }

    internal override string? Header(string name) => name == "User-Agent" ? "k3sfast/in-process" : null;

    /// <summary>A pipe writer without a reader: everything stays.</summary>
    private sealed class BufferPipeWriter : PipeWriter
    {
        private readonly ArrayBufferWriter<byte> _buffer = new(1024);

        internal ReadOnlyMemory<byte> Written => _buffer.WrittenMemory;

        public override void Advance(int bytes) => _buffer.Advance(bytes);

        public override Memory<byte> GetMemory(int sizeHint = 0) => _buffer.GetMemory(sizeHint);

        public override Span<byte> GetSpan(int sizeHint = 0) => _buffer.GetSpan(sizeHint);

        public override void CancelPendingFlush()
        {
        }

        public override void Complete(Exception? exception = null)
        {
        }

        public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => ValueTask.FromResult(new FlushResult(false, false));
    }
}
