using System.Net.Sockets;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Net.Client;
using K3sFast.Containerd.Api;
using VersionClient = K3sFast.Containerd.Api.Version.VersionClient;

namespace K3sFast.Containerd;

/// <summary>gRPC to containerd's socket, in CRI's namespace. One per socket; connects on first use and again after a loss.</summary>
internal sealed class ContainerdConnection : IDisposable
{
    /// <summary>The namespace in which CRI keeps its containers and images.</summary>
    public const string Namespace = "k8s.io";

    private readonly GrpcChannel _channel;
    private readonly VersionClient _version;
    private readonly Events.EventsClient _events;

    public ContainerdConnection(string socketPath)
    {
        SocketPath = socketPath;
        var handler = new SocketsHttpHandler
        {
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            ConnectCallback = async (_, ct) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), ct).ConfigureAwait(false);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        };
        _channel = GrpcChannel.ForAddress("http://containerd", new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true, MaxReceiveMessageSize = 16 << 20 });
        _version = new(_channel);
        _events = new(_channel);
        Content = new(_channel);
        Images = new(_channel);
        Leases = new(_channel);
    }

    public string SocketPath { get; }
    public Content.ContentClient Content { get; }
    public Images.ImagesClient Images { get; }
    public Leases.LeasesClient Leases { get; }

    /// <summary>Headers of a call in our namespace, optionally under a lease that keeps new content from being collected.</summary>
    public static Metadata Headers(string lease = "")
    {
        var headers = new Metadata { { "containerd-namespace", Namespace } };
        if (lease.Length > 0)
            headers.Add("containerd-lease", lease);
        return headers;
    }

    /// <summary>containerd's version, or null when nothing answers within <paramref name="timeout"/>.</summary>
    public async Task<string?> TryVersionAsync(TimeSpan timeout, CancellationToken ct)
    {
        if (!File.Exists(SocketPath))
            return null;
        try
        {
            var reply = await _version.VersionAsync(new Empty(), deadline: DateTime.UtcNow + timeout, cancellationToken: ct).ConfigureAwait(false);
            return reply.Version;
        }
        catch (RpcException)
        {
            ct.ThrowIfCancellationRequested();
            return null;
        }
    }

    /// <summary>Completes when containerd goes away. Holds one idle stream open, so that its end is an event and not a poll.</summary>
    public async Task WaitForEndAsync(CancellationToken ct)
    {
        try
        {
            var request = new SubscribeRequest();
            // A topic that is never published: the stream carries nothing but its own end.
            request.Filters.Add("topic==\"/k3sfast/never\"");
            using var stream = _events.Subscribe(request, Headers(), cancellationToken: ct);
            while (await stream.ResponseStream.MoveNext(ct).ConfigureAwait(false))
            {
            }
        }
        catch (RpcException)
        {
            ct.ThrowIfCancellationRequested();
        }
    }

    public void Dispose() => _channel.Dispose();
}
