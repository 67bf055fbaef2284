using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;

namespace K3sFast.ApiServer;

/// <summary>
/// A connection that is told to go (GOAWAY) with its last answer is left to the client to close, for a while. A socket that is closed while something of the client's is
/// still to be read, be it what it says about flow control, is reset: its next word then fails, and some clients take that for the answer's fate.
/// </summary>
/// <remarks>As net/http's HTTP/2 server, which waits as long. Below TLS, one per connection; any thread asks for it.</remarks>
internal sealed class LingeringClose
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private volatile bool _isWanted;

    /// <summary>The connection ends by our will after an answer.</summary>
    internal void Want() => _isWanted = true;

    /// <summary>Serves a connection, as middleware before that of TLS.</summary>
    internal static async Task ServeAsync(ConnectionContext connection, ConnectionDelegate next, TimeProvider clock)
    {
        var close = new LingeringClose();
        connection.Features.Set(close);
        await next(connection).ConfigureAwait(false);
        if (close._isWanted)
            await DrainAsync(connection, clock).ConfigureAwait(false);
    }

    private static async Task DrainAsync(ConnectionContext connection, TimeProvider clock)
    {
        using var patience = new CancellationTokenSource(s_patience, clock);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, connection.ConnectionClosed);
        var input = connection.Transport.Input;
        try
        {
            ReadResult read;
            do
            {
                read = await input.ReadAsync(end.Token).ConfigureAwait(false);
                input.AdvanceTo(read.Buffer.End);
            }
            while (!read.IsCompleted);
        }
        catch (Exception error) when (error is OperationCanceledException or IOException or ConnectionAbortedException or ConnectionResetException or InvalidOperationException)
        {
            // Gone, or patient enough.
        }
    }
}
