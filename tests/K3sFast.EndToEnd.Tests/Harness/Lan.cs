using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace K3sFast.EndToEnd.Tests;

/// <summary>
/// A network of its own for one cluster: a namespace with a bridge, where the outside world lives (192.0.2.1 and 2001:db8::1), and one namespace per node
/// hanging on it. Nothing leaves the machine.
/// </summary>
internal sealed partial class Lan : IAsyncDisposable
{
    internal const string Gateway = "192.0.2.1", Gateway6 = "2001:db8::1";

    private static int s_count = -1;

    private readonly List<string> _namespaces = [];
    private readonly string _prefix;

    private Lan(string prefix) => _prefix = prefix;

    /// <summary>The namespace of the outside world.</summary>
    internal string Outside => _prefix + "lan";

    internal static async Task<Lan> CreateAsync()
    {
        var lan = new Lan($"k3e{Environment.ProcessId}{(char)('a' + Interlocked.Increment(ref s_count))}-");
        await lan.AddNamespaceAsync(lan.Outside);
        await lan.InAsync(lan.Outside, "ip", "link", "add", "br0", "type", "bridge");
        await lan.InAsync(lan.Outside, "ip", "address", "add", Gateway + "/24", "dev", "br0");
        await lan.InAsync(lan.Outside, "ip", "address", "add", Gateway6 + "/64", "dev", "br0", "nodad");
        await lan.InAsync(lan.Outside, "ip", "link", "set", "br0", "up");
        return lan;
    }

    /// <summary>A node's namespace with addresses 192.0.2.<paramref name="number"/> and 2001:db8::<paramref name="number"/>.</summary>
    internal async Task<(string Namespace, string Address)> AddNodeAsync(int number)
    {
        var name = $"{_prefix}n{number}";
        var address = $"192.0.2.{number}";
        await AddNamespaceAsync(name);
        await InAsync(Outside, "ip", "link", "add", $"n{number}", "type", "veth", "peer", "name", "eth0", "netns", name);
        await InAsync(Outside, "ip", "link", "set", $"n{number}", "master", "br0", "up");
        await InAsync(name, "ip", "address", "add", address + "/24", "dev", "eth0");
        await InAsync(name, "ip", "address", "add", $"2001:db8::{number}/64", "dev", "eth0", "nodad");
        await InAsync(name, "ip", "link", "set", "eth0", "up");
        await InAsync(name, "ip", "route", "add", "default", "via", Gateway);
        return (name, address);
    }

    /// <summary>Runs a command inside a namespace; the mounts stay the host's, so that cgroups are seen.</summary>
    internal static string[] Inside(string name, params IEnumerable<string> command) => ["nsenter", $"--net=/run/netns/{name}", "--", .. command];

    /// <summary>A socket of the outside world, for a client in this process.</summary>
    internal Socket OpenOutside(Func<Socket> open) => OpenInside(Outside, open);

    /// <summary>A name server outside the cluster that knows outside.example (192.0.2.1) and nothing else; ends with the token.</summary>
    internal void ServeNames(CancellationToken cancellationToken)
    {
        var socket = OpenInside(Outside, static () => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
        socket.Bind(new IPEndPoint(IPAddress.Parse(Gateway), 53));
        cancellationToken.Register(socket.Dispose);
        _ = ServeAsync();

        async Task ServeAsync()
        {
            var buffer = new byte[512];
            while (!cancellationToken.IsCancellationRequested)
            {
                try
                {
                    var query = await socket.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0), cancellationToken);
                    await socket.SendToAsync(Answer(buffer.AsSpan(0, query.ReceivedBytes)), SocketFlags.None, query.RemoteEndPoint, cancellationToken);
                }
                catch (Exception) when (cancellationToken.IsCancellationRequested)
                {
                    return;
                }
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var name in _namespaces) await Shell.RunAsync(["ip", "netns", "delete", name]);
    }

    // The question is echoed; an A record follows when it asks for outside.example, else NXDOMAIN or no data.
    private static byte[] Answer(ReadOnlySpan<byte> query)
    {
        var end = 12;
        while (query[end] != 0) end += query[end] + 1;
        end += 5;
        var isKnown = query[12..].StartsWith("\u0007outside\u0007example\0"u8);
        var isA = query[end - 3] == 1;
        List<byte> answer = [.. query[..end]];
        (answer[2], answer[3]) = (0x84, (byte)(isKnown ? 0 : 3));
        (answer[7], answer[9], answer[11]) = ((byte)(isKnown && isA ? 1 : 0), 0, 0);
        if (isKnown && isA) answer.AddRange([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        return [.. answer];
    }

    // A socket belongs to the namespace of the thread that opens it, wherever it is used later.
    internal static Socket OpenInside(string name, Func<Socket> open)
    {
        Socket? socket = null;
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                using var file = File.OpenHandle("/run/netns/" + name);
                const int NewNet = 0x40000000;
                if (SetNamespace((int)file.DangerousGetHandle(), NewNet) != 0) throw new IOException($"setns: errno {Marshal.GetLastPInvokeError()}");
                socket = open();
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
        thread.Join();
        return failure is null ? socket! : throw failure;
    }

    private async Task AddNamespaceAsync(string name)
    {
        (await Shell.RunAsync(["ip", "netns", "add", name])).Ok();
        _namespaces.Add(name);
        await InAsync(name, "ip", "link", "set", "lo", "up");
    }

    private async Task InAsync(string name, params IEnumerable<string> command) => (await Shell.RunAsync(Inside(name, command))).Ok();

    [LibraryImport("libc", EntryPoint = "setns", SetLastError = true)]
    private static partial int SetNamespace(int fd, int type);
}
