using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using K3sFast.Kubelet.Cri;
using k8s.Models;

namespace K3sFast.Kubelet.Probes;

/// <summary>Runs one probe once: exec, HTTP, TCP or gRPC. Failure is an outcome; its message is the one that events show.</summary>
internal sealed class Prober(CriClient cri, HttpProber http)
{
    // What an exec probe's output is cut to; upstream's bound.
    private const int MaxOutputChars = 10 * 1024;

    // grpc.health.v1: HealthCheckRequest { string service = 1; }, HealthCheckResponse { ServingStatus status = 1; }
    private static readonly Method<byte[], byte[]> s_healthCheck = new(
        MethodType.Unary,
        "grpc.health.v1.Health",
        "Check",
        Marshallers.Create(static value => value, static value => value),
        Marshallers.Create(static value => value, static value => value));

    private static readonly string[] s_servingStatus = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

    public async Task<(bool IsSuccess, string Message)> ProbeAsync(
        V1Probe probe, V1Container spec, string containerId, string podIP, CancellationToken cancellationToken)
    {
        var timeout = TimeSpan.FromSeconds(Math.Max(probe.TimeoutSeconds ?? 1, 1));
        if (probe.Exec is { } exec) return await ExecAsync(exec, containerId, timeout, cancellationToken).ConfigureAwait(false);
        if (probe.HttpGet is { } get) return await http.GetAsync(get, spec, podIP, timeout, cancellationToken).ConfigureAwait(false);
        if (probe.TcpSocket is { } tcp) return await TcpAsync(tcp, spec, podIP, timeout, cancellationToken).ConfigureAwait(false);
        if (probe.Grpc is { } grpc) return await GrpcAsync(grpc, podIP, timeout, cancellationToken).ConfigureAwait(false);
        return (false, "missing probe handler");
    }

    private async Task<(bool IsSuccess, string Message)> ExecAsync(V1ExecAction exec, string containerId, TimeSpan timeout, CancellationToken cancellationToken)
    {
        try
        {
            var result = await cri.ExecSyncAsync(containerId, exec.Command ?? [], timeout, cancellationToken).ConfigureAwait(false);
            if (result.ExitCode == 0) return (true, "");
            var output = result.Stdout.ToStringUtf8() + result.Stderr.ToStringUtf8();
            return (false, output.Length > MaxOutputChars ? output[..MaxOutputChars] : output);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.DeadlineExceeded)
        {
            return (false, $"command timed out: \"{string.Join(' ', exec.Command ?? [])}\" timed out after {timeout.TotalSeconds:0}s");
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.Cancelled)
        {
            return (false, e.Status.Detail);
        }
    }

    private static async Task<(bool IsSuccess, string Message)> TcpAsync(
        V1TCPSocketAction tcp, V1Container spec, string podIP, TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (ProbePorts.Resolve(tcp.Port, spec) is not { } port) return (false, $"couldn't find port: {tcp.Port.Value}");
        var host = string.IsNullOrEmpty(tcp.Host) ? podIP : tcp.Host;
        var address = host.Contains(':') ? $"[{host}]:{port}" : $"{host}:{port}";
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        bound.CancelAfter(timeout);
        using var client = new TcpClient();
        // A probe's connection is over at once: no TIME_WAIT is left behind on a busy node.
        client.LingerState = new LingerOption(true, 0);
        try
        {
            await client.ConnectAsync(host, port, bound.Token).ConfigureAwait(false);
            return (true, "");
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return (false, $"dial tcp {address}: i/o timeout");
        }
        catch (SocketException e)
        {
            return (false, $"dial tcp {address}: connect: {ProbePorts.Describe(e)}");
        }
    }

    private static async Task<(bool IsSuccess, string Message)> GrpcAsync(V1GRPCAction grpc, string podIP, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var service = grpc.Service ?? "";
        var host = podIP.Contains(':') ? $"[{podIP}]" : podIP;
        using var handler = new SocketsHttpHandler { UseProxy = false };
        using var channel = GrpcChannel.ForAddress($"http://{host}:{grpc.Port}", new GrpcChannelOptions { HttpHandler = handler });
        try
        {
            var options = new CallOptions(deadline: DateTime.UtcNow + timeout, cancellationToken: cancellationToken);
            using var call = channel.CreateCallInvoker().AsyncUnaryCall(s_healthCheck, null, options, HealthRequest(service));
            var status = HealthStatus(await call.ResponseAsync.ConfigureAwait(false));
            return status == "SERVING" ? (true, "service healthy") : (false, $"service unhealthy (responded with \"{status}\")");
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.Cancelled || !cancellationToken.IsCancellationRequested)
        {
            return e.StatusCode switch
            {
                StatusCode.Unimplemented => (false, $"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {e.Status.Detail}"),
                StatusCode.DeadlineExceeded => (false, $"timeout: health rpc did not complete within {timeout.TotalSeconds:0}s"),
                StatusCode.Unavailable => (false, $"timeout: failed to connect service \"{host}:{grpc.Port}\" within {timeout.TotalSeconds:0}s: {e.Status.Detail}"),
                _ => (false, $"error: health rpc probe failed: {e.Status.Detail}"),
            };
        }
    }

    private static byte[] HealthRequest(string service)
    {
        if (service.Length == 0) return [];
        var name = System.Text.Encoding.UTF8.GetBytes(service);
        using var bytes = new MemoryStream();
        using var output = new Google.Protobuf.CodedOutputStream(bytes, leaveOpen: true);
        output.WriteRawTag(0x0A);
        output.WriteBytes(Google.Protobuf.ByteString.CopyFrom(name));
        output.Flush();
        return bytes.ToArray();
    }

    private static string HealthStatus(byte[] response)
    {
        using var input = new Google.Protobuf.CodedInputStream(response);
        var status = 0;
        for (var tag = input.ReadTag(); tag != 0; tag = input.ReadTag())
        {
            if (tag == 0x08) status = input.ReadEnum();
            else input.SkipLastField();
        }
        return status >= 0 && status < s_servingStatus.Length ? s_servingStatus[status] : $"{status}";
    }
}
