using System.Net.Sockets;
using System.Runtime.InteropServices;
using K3sFast.Interop.Netlink;

namespace K3sFast.Interop.Tests.Netlink;

/// <summary>Plays the kernel behind a netlink socket: keeps every request, and answers as the test says or else as the kernel does when all is well and nothing is there.</summary>
internal sealed class ScriptedKernel : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("netlink-test-").FullName;
    private readonly Socket _kernel, _client;
    private readonly Thread _thread;
    private readonly Func<byte[], IEnumerable<byte[]>?> _script;

    /// <param name="script">Gets a datagram of requests and answers with datagrams; null = as usual.</param>
    internal ScriptedKernel(Func<byte[], IEnumerable<byte[]>?>? script = null)
    {
        _script = script ?? (static _ => null);
        (_kernel, _client) = (Bind("kernel"), Bind("client"));
        _client.Connect(new UnixDomainSocketEndPoint(Path.Combine(_directory, "kernel")));
        _kernel.Connect(new UnixDomainSocketEndPoint(Path.Combine(_directory, "client")));
        Socket = new NetlinkSocket(new FileDescriptor((int)_client.SafeHandle.DangerousGetHandle(), ownsHandle: false));
        _thread = new Thread(Serve) { IsBackground = true };
        _thread.Start();
    }

    /// <summary>The socket in front of it.</summary>
    internal NetlinkSocket Socket { get; }

    /// <summary>Datagrams that were sent. Look at them between calls.</summary>
    internal List<byte[]> Requests { get; } = [];

    public void Dispose()
    {
        Socket.Dispose();
        _client.Dispose();
        _kernel.Shutdown(SocketShutdown.Both);
        _thread.Join();
        _kernel.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    /// <summary>One message.</summary>
    internal static byte[] Message(ushort type, ushort flags, ReadOnlySpan<byte> payload)
    {
        var message = new byte[NetlinkConstants.Align(16 + payload.Length)];
        MemoryMarshal.Write(message, new nlmsghdr { nlmsg_len = (uint)(16 + payload.Length), nlmsg_type = type, nlmsg_flags = flags });
        payload.CopyTo(message.AsSpan(16));
        return message;
    }

    /// <summary>The end of a dump.</summary>
    internal static byte[] Done(ushort flags = 0) => Message(NetlinkConstants.NLMSG_DONE, (ushort)(flags | NetlinkConstants.NLM_F_MULTI), new byte[4]);

    /// <summary>The answer to a request: 0 = carried out.</summary>
    internal static byte[] Acknowledge(ReadOnlySpan<byte> request, int errno = 0) =>
        Message(NetlinkConstants.NLMSG_ERROR, NetlinkConstants.NLM_F_CAPPED, [.. BitConverter.GetBytes(-errno), .. request[..16]]);

    /// <summary>Every message of a datagram.</summary>
    internal static IEnumerable<byte[]> Split(byte[] datagram)
    {
        for (var at = 0; at < datagram.Length;)
        {
            var length = BitConverter.ToInt32(datagram, at);
            yield return datagram[at..(at + length)];
            at += NetlinkConstants.Align(length);
        }
    }

    private Socket Bind(string name)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(Path.Combine(_directory, name)));
        return socket;
    }

    private void Serve()
    {
        var buffer = new byte[1 << 17];
        while (true)
        {
            int length;
            try
            {
                length = _kernel.Receive(buffer);
                if (length == 0) return;
                var request = buffer[..length];
                Requests.Add(request);
                foreach (var answer in _script(request) ?? Split(request).Select(AnswerOf)) _kernel.Send(answer);
            }
            catch (SocketException)
            {
                return;
            }
        }
    }

    private static byte[] AnswerOf(byte[] request) =>
        (BitConverter.ToUInt16(request, 6) & NetlinkConstants.NLM_F_DUMP) == NetlinkConstants.NLM_F_DUMP ? Done() : Acknowledge(request);
}
