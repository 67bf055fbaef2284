using System.Net.Sockets;
using System.Text;

namespace K3sFast.Kubelet.Streaming;

/// <summary>An upgraded connection to the runtime's streaming server, or its refusal.</summary>
internal sealed record RuntimeStream(int StatusCode, Stream Connection, string Protocol, string Body)
{
    // A head larger than this is no answer of a streaming server.
    private const int MaxHeadBytes = 16 * 1024;

    /// <summary>Asks the URL that the runtime gave for SPDY/3.1, offering these stream protocols.</summary>
    /// <exception cref="IOException">The connection broke, or the answer is no HTTP.</exception>
    public static async Task<RuntimeStream> ConnectAsync(string url, IEnumerable<string> protocols, CancellationToken cancellationToken)
    {
        var uri = new Uri(url);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(uri.Host, uri.Port, cancellationToken).ConfigureAwait(false);
            var stream = new NetworkStream(socket, ownsSocket: true);
            var head = new StringBuilder();
            head.Append("POST ").Append(uri.PathAndQuery).Append(" HTTP/1.1\r\nHost: ").Append(uri.Authority);
            head.Append("\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n");
            foreach (var protocol in protocols) head.Append("X-Stream-Protocol-Version: ").Append(protocol).Append("\r\n");
            head.Append("\r\n");
            await stream.WriteAsync(Encoding.ASCII.GetBytes(head.ToString()), cancellationToken).ConfigureAwait(false);
            return await ReadAnswerAsync(stream, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // Byte by byte to the blank line: what follows it belongs to the upgraded stream. A few hundred reads, once per session.
    private static async Task<RuntimeStream> ReadAnswerAsync(NetworkStream stream, CancellationToken cancellationToken)
    {
        var head = new List<byte>(512);
        var one = new byte[1];
        while (!EndsWithBlankLine(head))
        {
            if (head.Count >= MaxHeadBytes) throw new IOException("the runtime's streaming server sent too long a head");
            if (await stream.ReadAsync(one, cancellationToken).ConfigureAwait(false) == 0) throw new IOException("the runtime's streaming server closed the connection");
            head.Add(one[0]);
        }
        var lines = Encoding.ASCII.GetString(head.ToArray()).Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        var status = lines[0].Split(' ', 3);
        if (status.Length < 2 || !int.TryParse(status[1], out var code)) throw new IOException($"the runtime's streaming server answered \"{lines[0]}\"");
        var protocol = Header(lines, "X-Stream-Protocol-Version");
        if (code == 101) return new RuntimeStream(code, stream, protocol, "");
        _ = int.TryParse(Header(lines, "Content-Length"), out var length);
        var body = new byte[Math.Clamp(length, 0, MaxHeadBytes)];
        var read = await stream.ReadAtLeastAsync(body, body.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        return new RuntimeStream(code, stream, protocol, Encoding.UTF8.GetString(body, 0, read));
    }

    private static bool EndsWithBlankLine(List<byte> bytes) =>
        bytes.Count >= 4 && bytes[^1] == '\n' && bytes[^2] == '\r' && bytes[^3] == '\n' && bytes[^4] == '\r';

    private static string Header(string[] lines, string name)
    {
        foreach (var line in lines)
        {
            var colon = line.IndexOf(':');
            if (colon == name.Length && line.StartsWith(name, StringComparison.OrdinalIgnoreCase)) return line[(colon + 1)..].Trim();
        }
        return "";
    }
}
