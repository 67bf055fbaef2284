using System.Net.Sockets;
using System.Text;

namespace K3sFast.Server;

/// <summary>sd_notify(3): tells the service manager that we are up. Does nothing where none asked (NOTIFY_SOCKET unset).</summary>
internal static class SystemdNotifier
{
    /// <summary>Sends one state such as <c>READY=1</c>. A manager that does not listen is not our trouble.</summary>
    public static void Send(string state)
    {
        if (Environment.GetEnvironmentVariable("NOTIFY_SOCKET") is not { Length: > 0 } path)
            return;
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            // A leading @ stands for the abstract namespace (sd_notify(3)).
            socket.SendTo(Encoding.UTF8.GetBytes(state), new UnixDomainSocketEndPoint(path[0] == '@' ? "\0" + path[1..] : path));
        }
        catch (SocketException)
        {
        }
    }
}
