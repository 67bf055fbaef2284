using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace K3sFast.Benchmarks.Dns;

/// <summary>
/// Asks a name server at a steady rate, one question at a time and never several in a row, and looks for answers without ever sleeping: what is
/// measured is the way to the server, its work and the way back, not how a client's threads are woken. One core, which must be its own.
/// </summary>
/// <remarks>
/// A moment in which this client itself was not run (the machine's doing) is told apart: questions that were under way then are left out of the
/// distribution and counted as unseen.
/// </remarks>
internal sealed class DnsPacedClient
{
    // Longer than any turn of the loop takes: who is away this long was not being run.
    private static readonly long s_away = Stopwatch.Frequency * 50 / 1_000_000;

    private readonly Socket[] _sockets;
    private readonly byte[][] _queries;
    // When each question that is under way was sent, by socket and ID; 0 = none
    private readonly long[] _sentAt;
    private readonly List<int> _nanoseconds;
    private readonly byte[] _answer = new byte[4096];
    private long _awayUntil;
    private int _unseen;
    private int _wrong;
    private int _answers;

    private DnsPacedClient(IPEndPoint server, byte[][] queries, int sockets, int capacity)
    {
        _queries = queries;
        _sockets = new Socket[sockets];
        _sentAt = new long[sockets * 65536];
        _nanoseconds = new List<int>(capacity);
        for (var i = 0; i < sockets; i++)
        {
            _sockets[i] = new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { Blocking = false };
            _sockets[i].Connect(server);
        }
    }

    internal static int Run(string[] arguments)
    {
        string Value(string name, string otherwise) => Array.IndexOf(arguments, name) is var at and >= 0 ? arguments[at + 1] : otherwise;
        int Number(string name, string otherwise) => int.Parse(Value(name, otherwise), CultureInfo.InvariantCulture);
        var (rate, seconds) = (Number("--rate", "50000"), Number("--seconds", "10"));
        var queries = File.ReadLines(Value("--queries", "queries")).Select(Encode).ToArray();
        var client = new DnsPacedClient(IPEndPoint.Parse(Value("--server", "127.0.0.1:10053")), queries, Number("--sockets", "4"), (rate * seconds) + 1000);
        // Everybody's code and caches are warm before the clock starts.
        client.Ask(rate, TimeSpan.FromMilliseconds(Number("--warm-up-ms", "2000")));
        client.Forget();
        var (sent, elapsed) = client.Ask(rate, TimeSpan.FromSeconds(seconds));
        client.Write(sent, elapsed);
        return client._wrong == 0 ? 0 : 1;
    }

    private void Forget()
    {
        _nanoseconds.Clear();
        (_unseen, _answers) = (0, 0);
    }

    private (int Sent, TimeSpan Elapsed) Ask(int rate, TimeSpan time)
    {
        var interval = Stopwatch.Frequency / rate;
        var start = Stopwatch.GetTimestamp();
        var (end, due, last) = (start + (long)(time.TotalSeconds * Stopwatch.Frequency), start, start);
        var sent = 0;
        for (var now = start; now < end; now = Stopwatch.GetTimestamp())
        {
            if (now - last > s_away) _awayUntil = now;
            last = now;
            if (now >= due)
            {
                Send(sent++, now);
                // What could not be asked in time is not asked at all: a burst would measure itself.
                due = Math.Max(due + interval, now - interval);
            }
            Receive();
        }
        var elapsed = Stopwatch.GetElapsedTime(start);
        // The last answers.
        for (var grace = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(grace) < TimeSpan.FromMilliseconds(200);) Receive();
        return (sent, elapsed);
    }

    private void Send(int index, long now)
    {
        var socket = index % _sockets.Length;
        var id = (index / _sockets.Length) & 0xFFFF;
        var query = _queries[index % _queries.Length];
        (query[0], query[1]) = ((byte)(id >> 8), (byte)id);
        _sentAt[(socket << 16) + id] = now;
        _sockets[socket].Send(query, SocketFlags.None, out _);
    }

    private void Receive()
    {
        for (var i = 0; i < _sockets.Length; i++)
        {
            var size = _sockets[i].Receive(_answer, SocketFlags.None, out var error);
            if (error != SocketError.Success) continue;
            var now = Stopwatch.GetTimestamp();
            ref var sentAt = ref _sentAt[(i << 16) + ((_answer[0] << 8) | _answer[1])];
            // An answer, to a question of ours, with code NOERROR or NXDOMAIN.
            if (size < 12 || sentAt == 0 || (_answer[2] & 0x80) == 0 || (_answer[3] & 15) is not (0 or 3))
            {
                _wrong++;
                continue;
            }
            _answers++;
            if (sentAt <= _awayUntil) _unseen++;
            else _nanoseconds.Add((int)((now - sentAt) * 1_000_000_000 / Stopwatch.Frequency));
            sentAt = 0;
        }
    }

    private void Write(int sent, TimeSpan elapsed)
    {
        _nanoseconds.Sort();
        string At(double part) => _nanoseconds.Count == 0 ? "-" : (_nanoseconds[(int)Math.Min(_nanoseconds.Count - 1, part * _nanoseconds.Count)] / 1000.0).ToString("0.0", CultureInfo.InvariantCulture);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"rate {sent / elapsed.TotalSeconds:0}, answers {_answers}, lost {sent - _answers}, wrong {_wrong}, unseen {_unseen}, p50 {At(0.5)} us, p90 {At(0.9)} us, p99 {At(0.99)} us, p99.9 {At(0.999)} us, largest {At(1)} us"));
    }

    // "name TYPE", as dnsperf reads it.
    private static byte[] Encode(string line)
    {
        var words = line.Split(' ');
        var type = words[1] switch { "A" => 1, "AAAA" => 28, "SRV" => 33, "PTR" => 12, _ => throw new FormatException($"type {words[1]} is not known") };
        List<byte> query = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        foreach (var label in words[0].TrimEnd('.').Split('.')) query.AddRange([(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]);
        query.AddRange([0, 0, (byte)type, 0, 1]);
        return [.. query];
    }
}
