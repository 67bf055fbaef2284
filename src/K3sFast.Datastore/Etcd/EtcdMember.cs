using System.Net;
using System.Net.Sockets;
using Grpc.Net.Client;
using K3sFast.Datastore.Etcd.Wire;

namespace K3sFast.Datastore.Etcd;

/// <summary>One endpoint: a channel of its own, so that a member that hangs holds up nobody who talks to another one.</summary>
internal sealed class EtcdMember : IDisposable
{
    // A member that does not answer a ping for this long is given up. kube-apiserver waits 30 s and 10 s, which is long to stand still.
    private static readonly TimeSpan s_pingDelay = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_pingTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_connectTimeout = TimeSpan.FromSeconds(3);

    private readonly GrpcChannel _channel;

    public EtcdMember(Uri endpoint, DatastoreTls tls)
    {
        Name = endpoint.Scheme is "unix" ? endpoint.LocalPath : endpoint.GetComponents(UriComponents.SchemeAndServer, UriFormat.UriEscaped);
        var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            ConnectTimeout = s_connectTimeout,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            KeepAlivePingDelay = s_pingDelay,
            KeepAlivePingTimeout = s_pingTimeout,
            EnableMultipleHttp2Connections = true,
            InitialHttp2StreamWindowSize = 1 << 20,
        };
        string address = Name;
        if (endpoint.Scheme is "unix")
        {
            string path = endpoint.LocalPath;
            handler.ConnectCallback = (_, ct) => ConnectUnixAsync(path, ct);
            address = "http://localhost";
        }
        else if (endpoint.Scheme is "https")
        {
            handler.SslOptions = tls.ForHost(endpoint.IdnHost);
        }
        _channel = GrpcChannel.ForAddress(address, new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = null,
            // The caller goes on to another member meanwhile: one that comes back should not wait for two minutes, as is gRPC's habit.
            InitialReconnectBackoff = TimeSpan.FromMilliseconds(100),
            MaxReconnectBackoff = TimeSpan.FromSeconds(1),
        });
        KV = new KV.KVClient(_channel);
        Watch = new Watch.WatchClient(_channel);
        Lease = new Lease.LeaseClient(_channel);
        Maintenance = new Maintenance.MaintenanceClient(_channel);
        Auth = new Auth.AuthClient(_channel);
    }

    public string Name { get; }
    public KV.KVClient KV { get; }
    public Watch.WatchClient Watch { get; }
    public Lease.LeaseClient Lease { get; }
    public Maintenance.MaintenanceClient Maintenance { get; }
    public Auth.AuthClient Auth { get; }

    public void Dispose() => _channel.Dispose();

    private static async ValueTask<Stream> ConnectUnixAsync(string path, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }
    }
}
