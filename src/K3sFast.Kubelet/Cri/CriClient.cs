using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;

namespace K3sFast.Kubelet.Cri;

/// <summary>
/// The container runtime, over gRPC on its Unix socket. One connection for all calls; it is remade by itself when the runtime restarts.
/// Calls that may take long by nature (pull, stop, exec) say their own deadline.
/// </summary>
/// <remarks>Any thread. Failures are <see cref="RpcException"/>; NotFound is an outcome where the method says so.</remarks>
internal sealed class CriClient : IDisposable
{
    // Bound on one call of a runtime that hangs; upstream's runtimeRequestTimeout.
    private static readonly TimeSpan s_callTimeout = TimeSpan.FromMinutes(2);

    // A first sandbox on a cold disk can be slow: upstream doubles the bound for it.
    private static readonly TimeSpan s_sandboxTimeout = TimeSpan.FromMinutes(4);

    private readonly GrpcChannel _channel;
    private readonly RuntimeService.RuntimeServiceClient _runtime;
    private readonly ImageService.ImageServiceClient _images;

    public CriClient(string socketPath)
    {
        var endpoint = new UnixDomainSocketEndPoint(socketPath);
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(endpoint, cancellationToken).ConfigureAwait(false);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            EnableMultipleHttp2Connections = true,
        };
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            // Lists of a full node and exec output exceed the 4 MiB default; upstream's bound.
            MaxReceiveMessageSize = 16 * 1024 * 1024,
        });
        _runtime = new RuntimeService.RuntimeServiceClient(_channel);
        _images = new ImageService.ImageServiceClient(_channel);
    }

    public void Dispose() => _channel.Dispose();

    public async Task<VersionResponse> VersionAsync(CancellationToken cancellationToken) =>
        await _runtime.VersionAsync(new VersionRequest(), Options(s_callTimeout, cancellationToken)).ConfigureAwait(false);

    public async Task<RuntimeStatus> StatusAsync(CancellationToken cancellationToken) =>
        (await _runtime.StatusAsync(new StatusRequest(), Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Status;

    public async Task<IReadOnlyList<PodSandbox>> ListSandboxesAsync(string? podUid, CancellationToken cancellationToken)
    {
        var request = new ListPodSandboxRequest();
        if (podUid is not null) request.Filter = new PodSandboxFilter { LabelSelector = { [CriLabels.PodUid] = podUid } };
        return (await _runtime.ListPodSandboxAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Items;
    }

    public async Task<IReadOnlyList<Container>> ListContainersAsync(string? podUid, CancellationToken cancellationToken)
    {
        var request = new ListContainersRequest();
        if (podUid is not null) request.Filter = new ContainerFilter { LabelSelector = { [CriLabels.PodUid] = podUid } };
        return (await _runtime.ListContainersAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Containers;
    }

    /// <summary>State of a sandbox; null when the runtime does not know it (any more).</summary>
    public async Task<PodSandboxStatus?> SandboxStatusAsync(string id, CancellationToken cancellationToken)
    {
        try
        {
            var request = new PodSandboxStatusRequest { PodSandboxId = id };
            return (await _runtime.PodSandboxStatusAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Status;
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            return null;
        }
    }

    /// <summary>State of a container; null when the runtime does not know it (any more).</summary>
    public async Task<ContainerStatus?> ContainerStatusAsync(string id, CancellationToken cancellationToken)
    {
        try
        {
            var request = new ContainerStatusRequest { ContainerId = id };
            return (await _runtime.ContainerStatusAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Status;
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            return null;
        }
    }

    public async Task<string> RunSandboxAsync(PodSandboxConfig config, string runtimeHandler, CancellationToken cancellationToken)
    {
        var request = new RunPodSandboxRequest { Config = config, RuntimeHandler = runtimeHandler };
        return (await _runtime.RunPodSandboxAsync(request, Options(s_sandboxTimeout, cancellationToken)).ConfigureAwait(false)).PodSandboxId;
    }

    /// <summary>Stops the sandbox with everything in it; one that is gone is stopped.</summary>
    public async Task StopSandboxAsync(string id, CancellationToken cancellationToken)
    {
        try
        {
            var request = new StopPodSandboxRequest { PodSandboxId = id };
            await _runtime.StopPodSandboxAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
        }
    }

    /// <summary>Removes the sandbox and its containers; one that is gone is removed.</summary>
    public async Task RemoveSandboxAsync(string id, CancellationToken cancellationToken)
    {
        try
        {
            var request = new RemovePodSandboxRequest { PodSandboxId = id };
            await _runtime.RemovePodSandboxAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
        }
    }

    public async Task<string> CreateContainerAsync(
        string sandboxId, ContainerConfig config, PodSandboxConfig sandboxConfig, CancellationToken cancellationToken)
    {
        var request = new CreateContainerRequest { PodSandboxId = sandboxId, Config = config, SandboxConfig = sandboxConfig };
        return (await _runtime.CreateContainerAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).ContainerId;
    }

    public async Task StartContainerAsync(string id, CancellationToken cancellationToken) =>
        await _runtime.StartContainerAsync(new StartContainerRequest { ContainerId = id }, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false);

    /// <summary>Asks the container to stop (its stop signal), kills it after <paramref name="graceSeconds"/>; one that is gone is stopped.</summary>
    public async Task StopContainerAsync(string id, long graceSeconds, CancellationToken cancellationToken)
    {
        try
        {
            var request = new StopContainerRequest { ContainerId = id, Timeout = graceSeconds };
            var deadline = TimeSpan.FromSeconds(Math.Min(graceSeconds, int.MaxValue)) + s_callTimeout;
            await _runtime.StopContainerAsync(request, Options(deadline, cancellationToken)).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
        }
    }

    /// <summary>Removes a container that does not run; one that is gone is removed.</summary>
    public async Task RemoveContainerAsync(string id, CancellationToken cancellationToken)
    {
        try
        {
            var request = new RemoveContainerRequest { ContainerId = id };
            await _runtime.RemoveContainerAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
        }
    }

    public async Task UpdateContainerAsync(string id, LinuxContainerResources resources, CancellationToken cancellationToken)
    {
        var request = new UpdateContainerResourcesRequest { ContainerId = id, Linux = resources };
        await _runtime.UpdateContainerResourcesAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false);
    }

    public async Task ReopenLogAsync(string id, CancellationToken cancellationToken) =>
        await _runtime.ReopenContainerLogAsync(
            new ReopenContainerLogRequest { ContainerId = id }, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false);

    /// <summary>Runs a command in the container to its end. The runtime kills it after <paramref name="timeout"/> (DeadlineExceeded).</summary>
    public async Task<ExecSyncResponse> ExecSyncAsync(
        string id, IEnumerable<string> command, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var request = new ExecSyncRequest { ContainerId = id, Cmd = { command }, Timeout = (long)Math.Ceiling(timeout.TotalSeconds) };
        // The runtime's own bound is in whole seconds; ours is a little later so that its answer wins.
        var deadline = timeout > TimeSpan.Zero ? timeout + TimeSpan.FromSeconds(2) : Timeout.InfiniteTimeSpan;
        return await _runtime.ExecSyncAsync(request, Options(deadline, cancellationToken)).ConfigureAwait(false);
    }

    /// <summary>URL at which the runtime streams a command's input and output.</summary>
    public async Task<string> ExecAsync(ExecRequest request, CancellationToken cancellationToken) =>
        (await _runtime.ExecAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Url;

    /// <summary>URL at which the runtime streams the main process' input and output.</summary>
    public async Task<string> AttachAsync(AttachRequest request, CancellationToken cancellationToken) =>
        (await _runtime.AttachAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Url;

    /// <summary>URL at which the runtime forwards to ports of the sandbox.</summary>
    public async Task<string> PortForwardAsync(PortForwardRequest request, CancellationToken cancellationToken) =>
        (await _runtime.PortForwardAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Url;

    public async Task<IReadOnlyList<ContainerStats>> ListContainerStatsAsync(CancellationToken cancellationToken) =>
        (await _runtime.ListContainerStatsAsync(new ListContainerStatsRequest(), Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Stats;

    public async Task UpdatePodCidrAsync(string podCidr, CancellationToken cancellationToken)
    {
        var request = new UpdateRuntimeConfigRequest { RuntimeConfig = new RuntimeConfig { NetworkConfig = new NetworkConfig { PodCidr = podCidr } } };
        await _runtime.UpdateRuntimeConfigAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false);
    }

    /// <summary>The runtime's own event stream; Unimplemented where it has none.</summary>
    public AsyncServerStreamingCall<ContainerEventResponse> ContainerEvents(CancellationToken cancellationToken) =>
        _runtime.GetContainerEvents(new GetEventsRequest(), new CallOptions(cancellationToken: cancellationToken));

    public async Task<IReadOnlyList<Image>> ListImagesAsync(CancellationToken cancellationToken) =>
        (await _images.ListImagesAsync(new ListImagesRequest(), Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Images;

    /// <summary>An image that is present, or null.</summary>
    public async Task<Image?> ImageStatusAsync(ImageSpec image, CancellationToken cancellationToken)
    {
        var request = new ImageStatusRequest { Image = image };
        var found = (await _images.ImageStatusAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false)).Image;
        return string.IsNullOrEmpty(found?.Id) ? null : found;
    }

    /// <summary>Pulls an image; how long is the registry's and the pod's concern. Answers its reference.</summary>
    public async Task<string> PullImageAsync(ImageSpec image, AuthConfig? auth, PodSandboxConfig? sandbox, CancellationToken cancellationToken)
    {
        var request = new PullImageRequest { Image = image, Auth = auth, SandboxConfig = sandbox };
        return (await _images.PullImageAsync(request, Options(Timeout.InfiniteTimeSpan, cancellationToken)).ConfigureAwait(false)).ImageRef;
    }

    public async Task RemoveImageAsync(string image, CancellationToken cancellationToken)
    {
        var request = new RemoveImageRequest { Image = new ImageSpec { Image = image } };
        await _images.RemoveImageAsync(request, Options(s_callTimeout, cancellationToken)).ConfigureAwait(false);
    }

    public async Task<ImageFsInfoResponse> ImageFsInfoAsync(CancellationToken cancellationToken) =>
        await _images.ImageFsInfoAsync(new ImageFsInfoRequest(), Options(s_callTimeout, cancellationToken)).ConfigureAwait(false);

    private static CallOptions Options(TimeSpan timeout, CancellationToken cancellationToken) =>
        new(deadline: timeout == Timeout.InfiniteTimeSpan ? null : DateTime.UtcNow + timeout, cancellationToken: cancellationToken);
}
