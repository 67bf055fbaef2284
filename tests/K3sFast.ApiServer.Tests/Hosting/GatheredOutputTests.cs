using System.Buffers;
using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;

namespace K3sFast.ApiServer.Tests.Hosting;

public sealed class GatheredOutputTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task Flush_ThatComesAlone_IsSentByTheThreadThatBringsIt()
    {
        var client = new SlowClient();
        await client.ServeAsync(async output =>
        {
            await output.WriteAsync(new byte[] { 1, 2, 3 });
            Assert.Equal([1, 2, 3], client.Sent.Single());
        });
    }

    [Fact]
    public async Task Flushes_WhileOneIsSent_GoTogetherAndInOrder()
    {
        var client = new SlowClient();
        await client.ServeAsync(async output =>
        {
            client.Stop();
            for (byte i = 0; i < 100; i++)
                await output.WriteAsync(new[] { i });
            client.GoOn();
        });
        Assert.Equal(Enumerable.Range(0, 100).Select(static i => (byte)i), client.Sent.SelectMany(static piece => piece));
        Assert.InRange(client.Sent.Count, 1, 2);
    }

    [Fact]
    public async Task ManyBytes_AreSentByRecords()
    {
        var client = new SlowClient();
        var bytes = new byte[100_000];
        new Random(7).NextBytes(bytes);
        await client.ServeAsync(async output => await output.WriteAsync(bytes));
        Assert.Equal(bytes, client.Sent.SelectMany(static piece => piece));
        Assert.All(client.Sent, static piece => Assert.InRange(piece.Length, 1, 16 * 1024));
        Assert.Equal(7, client.Sent.Count);
    }

    [Fact]
    public async Task Client_ThatTakesNothing_LetsTheWriterWait()
    {
        var client = new SlowClient();
        await client.ServeAsync(async output =>
        {
            client.Stop();
            var written = 0;
            ValueTask<FlushResult> flush;
            do
            {
                flush = output.WriteAsync(new byte[1024]);
                written++;
            }
            while (flush.IsCompleted && written < 1000);
            // What one record took, and what may wait.
            Assert.InRange(written, 64, 64 + 16);
            client.GoOn();
            await flush.AsTask().WaitAsync(s_patience);
        });
    }

    [Fact]
    public async Task Sending_ThatFails_IsToldToTheWriter()
    {
        var client = new SlowClient { Failure = new IOException("the line is cut") };
        await client.ServeAsync(async output =>
        {
            var error = await Assert.ThrowsAsync<IOException>(async () =>
            {
                await output.WriteAsync(new byte[] { 1 });
                await output.WriteAsync(new byte[] { 2 });
            });
            Assert.Equal("the line is cut", error.Message);
        });
    }

    [Fact]
    public async Task Client_ThatIsGone_IsToldToTheWriter()
    {
        var client = new SlowClient { IsGone = true };
        await client.ServeAsync(async output =>
        {
            await output.WriteAsync(new byte[] { 1 });
            Assert.True((await output.WriteAsync(new byte[] { 2 })).IsCompleted);
        });
    }

    [Fact]
    public async Task End_ComesWhenAllIsSent_AndGivesTheTransportBack()
    {
        var client = new SlowClient();
        var serving = client.ServeAsync(async output =>
        {
            client.Stop();
            await output.WriteAsync(new byte[] { 1 });
            await output.WriteAsync(new byte[] { 2 });
        });
        Assert.False(serving.IsCompleted);
        client.GoOn();
        await serving.WaitAsync(s_patience);
        Assert.Equal([1, 2], client.Sent.SelectMany(static piece => piece));
    }

    /// <summary>The other end of a connection: notes what each flush brings it, and takes nothing while it is stopped.</summary>
    private sealed class SlowClient : PipeWriter, IDuplexPipe
    {
        private readonly ArrayBufferWriter<byte> _unflushed = new();
        private TaskCompletionSource? _stopped;

        internal List<byte[]> Sent { get; } = [];

        internal Exception? Failure { get; init; }

        internal bool IsGone { get; init; }

        public PipeReader Input => PipeReader.Create(ReadOnlySequence<byte>.Empty);

        public PipeWriter Output => this;

        internal void Stop() => _stopped = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

        internal void GoOn() => _stopped!.SetResult();

        internal async Task ServeAsync(Func<PipeWriter, Task> write)
        {
            var connection = new DefaultConnectionContext("1", this, this);
            await GatheredOutput.ServeAsync(connection, served => write(served.Transport.Output));
            Assert.Same(this, connection.Transport);
        }

        public override async ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
        {
            if (Failure is not null)
                throw Failure;
            Sent.Add(_unflushed.WrittenSpan.ToArray());
            _unflushed.ResetWrittenCount();
            if (_stopped is not null)
                await _stopped.Task;
            return new FlushResult(isCanceled: false, IsGone);
        }

        public override void Advance(int bytes) => _unflushed.Advance(bytes);

        public override Memory<byte> GetMemory(int sizeHint = 0) => _unflushed.GetMemory(sizeHint);

        public override Span<byte> GetSpan(int sizeHint = 0) => _unflushed.GetSpan(sizeHint);

        public override void CancelPendingFlush()
        {
        }

        public override void Complete(Exception? exception = null)
        {
        }
    }
}
