using System.Buffers;
using System.Net.Sockets;
using K3sFast.Interop;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Cni;

/// <summary>Listens for the plugin: one connection per call, one frame in, one answer out.</summary>
internal sealed class CniServer(string socketPath, CniHandler handler, ILogger logger)
{
    // A runtime starts a few pods at a time; more calls than this wait in the socket's backlog.
    private const int MaxConcurrentCalls = 32;

    // The plugin has its whole call in hand when it connects.
    private static readonly TimeSpan s_readTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_acceptRetryDelay = TimeSpan.FromMilliseconds(200);

    /// <summary>Opens the socket; a stale one of an earlier run is replaced. Only root may connect.</summary>
    /// <exception cref="SocketException">The path cannot be used.</exception>
    internal Socket Listen()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(socketPath)!);
        File.Delete(socketPath);
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            listener.Bind(new UnixDomainSocketEndPoint(socketPath));
            File.SetUnixFileMode(socketPath, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            listener.Listen(128);
            return listener;
        }
        catch
        {
            listener.Dispose();
            throw;
        }
    }

    /// <summary>Serves until cancelled; calls that are being carried out are finished first.</summary>
    internal async Task ServeAsync(Socket listener, CancellationToken cancellationToken)
    {
        using var slots = new SemaphoreSlim(MaxConcurrentCalls);
        try
        {
            while (true)
            {
                await slots.WaitAsync(cancellationToken).ConfigureAwait(false);
                if (await AcceptAsync(listener, cancellationToken).ConfigureAwait(false) is { } connection) _ = ServeOneAsync(connection, slots);
                else slots.Release();
            }
        }
        catch (OperationCanceledException)
        {
            listener.Dispose();
            // Every slot but the one that the accepting loop holds itself, if it got that far.
            for (var i = 0; i < MaxConcurrentCalls - 1; i++) await slots.WaitAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }

    // Null = out of descriptors or memory: the backlog holds the callers until there are some again.
    private async ValueTask<Socket?> AcceptAsync(Socket listener, CancellationToken cancellationToken)
    {
        try
        {
            return await listener.AcceptAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (SocketException failure)
        {
            Log.CniFailed(logger, failure);
            await Task.Delay(s_acceptRetryDelay, cancellationToken).ConfigureAwait(false);
            return null;
        }
    }

    private async Task ServeOneAsync(Socket connection, SemaphoreSlim slots)
    {
        // Kernel work below is synchronous: it must not run on the accepting loop.
        await Task.Yield();
        var answer = new ArrayBufferWriter<byte>(1024);
        byte[]? body = null;
        try
        {
            // Room for the exit code, which is known at the end.
            answer.Write(stackalloc byte[4]);
            var version = "1.0.0";
            var exitCode = 0;
            try
            {
                using var deadline = new CancellationTokenSource(s_readTimeout);
                var header = new byte[CniRequest.HeaderBytes];
                await ReadExactlyAsync(connection, header, deadline.Token).ConfigureAwait(false);
                var length = CniRequest.ReadHeader(header);
                body = ArrayPool<byte>.Shared.Rent(length);
                await ReadExactlyAsync(connection, body.AsMemory(0, length), deadline.Token).ConfigureAwait(false);
                var request = CniRequest.Parse(body.AsMemory(0, length));
                version = request.CniVersion;
                handler.Handle(request, answer);
            }
            catch (CniException refusal)
            {
                exitCode = 1;
                Log.CniRefused(logger, refusal.Code, refusal.Message, refusal.Details);
                CniResult.WriteError(answer, version, refusal);
            }
            catch (KernelException refusal)
            {
                exitCode = 1;
                Log.CniFailed(logger, refusal);
                CniResult.WriteError(answer, version, new CniException(CniException.Internal, "the kernel refused", refusal.Message));
            }
            await SendAsync(connection, answer, exitCode).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
        {
            // The plugin went away; what was done stays done, and the runtime deletes what it does not know.
            Log.CniConnectionLost(logger, e.Message);
        }
        catch (Exception bug)
        {
            // The call ends without an answer, which the plugin takes as "try again"; the agent goes on.
            Log.CniFailed(logger, bug);
        }
        finally
        {
            connection.Dispose();
            if (body is not null) ArrayPool<byte>.Shared.Return(body);
            slots.Release();
        }
    }

    private static async Task SendAsync(Socket connection, ArrayBufferWriter<byte> answer, int exitCode)
    {
        var bytes = answer.WrittenSpan.ToArray();
        BitConverter.TryWriteBytes(bytes, exitCode);
        for (var rest = bytes.AsMemory(); rest.Length > 0;) rest = rest[await connection.SendAsync(rest).ConfigureAwait(false)..];
        connection.Shutdown(SocketShutdown.Send);
    }

    private static async ValueTask ReadExactlyAsync(Socket connection, Memory<byte> destination, CancellationToken cancellationToken)
    {
        while (destination.Length > 0)
        {
            var read = await connection.ReceiveAsync(destination, cancellationToken).ConfigureAwait(false);
            if (read == 0) throw new CniException(CniException.Decoding, "truncated CNI call");
            destination = destination[read..];
        }
    }
}
