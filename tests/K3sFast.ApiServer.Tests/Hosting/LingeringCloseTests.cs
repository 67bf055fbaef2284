using System.Buffers.Binary;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.ApiServer.Tests;

/// <summary>Who is told to go with an answer closes the connection himself; the server does it only for who does not.</summary>
public sealed class LingeringCloseTests
{
    private const byte Data = 0, Headers = 1, Settings = 4, GoAway = 7;
    private const byte EndStream = 1, EndHeaders = 4;
    private const int HeadBytes = 9;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task Refused_TheClientMayStillSpeak_UntilHeClosesOrASecondHasPassed()
    {
        var cancel = TestContext.Current.CancellationToken;
        var clock = new FakeTimeProvider(DateTimeOffset.UtcNow);
        await using var server = await OwnServer.StartAsync(options => options with { Clock = clock });
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync("127.0.0.1", server.Server.Port, cancel);
        await using var stream = new NetworkStream(socket);
        await using var tls = new SslStream(stream, leaveInnerStreamOpen: true, static (_, _, _, _) => true);
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions { TargetHost = "127.0.0.1", ApplicationProtocols = [SslApplicationProtocol.Http2] }, cancel);
        await tls.WriteAsync(Request("/api/v1/namespaces"), cancel);
        Assert.Equal(401, StatusOf(await AnswerAsync(tls)));

        var rest = tls.CopyToAsync(Stream.Null, cancel);
        // Time for a server that does not wait to close.
        for (var i = 0; i < 100; i++)
            Assert.Equal(200, (int)(await server.Admin.GetAsync("/version", cancel)).StatusCode);
        Assert.False(rest.IsCompleted, "the server has closed the connection");
        await tls.WriteAsync(Frame(Settings, flags: 1, streamId: 0, []), cancel);
        await tls.FlushAsync(cancel);

        clock.Advance(TimeSpan.FromSeconds(1));
        await rest.WaitAsync(s_patience, cancel);
    }

    // RFC 9113 §3.4, §8.3; RFC 7541 §6: the static table's entries 2 and 7, names 4 and 1 with values as they are.
    private static byte[] Request(string path)
    {
        byte[] fields = [0x82, 0x87, 0x04, (byte)path.Length, .. Encoding.ASCII.GetBytes(path), 0x01, 1, (byte)'h'];
        return [.. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8, .. Frame(Settings, 0, 0, []), .. Frame(Headers, EndStream | EndHeaders, 1, fields)];
    }

    private static byte[] Frame(byte type, byte flags, int streamId, byte[] payload)
    {
        var frame = new byte[HeadBytes + payload.Length];
        BinaryPrimitives.WriteInt32BigEndian(frame, (payload.Length << 8) | type);
        frame[4] = flags;
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(5), streamId);
        payload.CopyTo(frame, HeadBytes);
        return frame;
    }

    /// <summary>The answer's body; before it the connection was told to go.</summary>
    private static async Task<string> AnswerAsync(SslStream tls)
    {
        var isToldToGo = false;
        var body = new StringBuilder();
        while (true)
        {
            var head = new byte[HeadBytes];
            await tls.ReadExactlyAsync(head).AsTask().WaitAsync(s_patience);
            var payload = new byte[BinaryPrimitives.ReadInt32BigEndian(head) >> 8];
            await tls.ReadExactlyAsync(payload).AsTask().WaitAsync(s_patience);
            isToldToGo |= head[3] == GoAway;
            if (head[3] == Data)
                body.Append(Encoding.UTF8.GetString(payload));
            if (head[3] is Data or Headers && (head[4] & EndStream) != 0)
                break;
        }
        Assert.True(isToldToGo);
        return body.ToString();
    }

    private static int StatusOf(string body) => (int)System.Text.Json.Nodes.JsonNode.Parse(body)!["code"]!;
}
