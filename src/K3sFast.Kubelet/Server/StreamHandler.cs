using System.Globalization;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Pods;
using K3sFast.Kubelet.Streaming;

namespace K3sFast.Kubelet.Server;

/// <summary>
/// exec, attach and port-forward. The runtime gives a URL of its streaming server; clients that speak SPDY are joined with it byte by byte, clients
/// that speak WebSocket (kubectl since 1.30) are translated. Also /run, which answers a command's output as one body.
/// </summary>
internal sealed class StreamHandler(PodManager pods, PodServices services)
{
    // RFC 6455 §1.3.
    private const string WebSocketMagic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    // kubectl's port-forward over WebSocket: a SPDY connection inside binary messages.
    private const string TunnelPrefix = "SPDY/3.1+";

    private static readonly string[] s_spdyProtocols = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

    public async Task ExecAsync(KubeletRequest request, string ns, string pod, string? uid, string container)
    {
        var record = Running(ns, pod, uid, container);
        var options = Streams(request);
        var command = request.QueryAll("command");
        if (command.Count == 0) throw new KubeletRequestException(400, "you must specify at least 1 command to run");
        var url = await services.Cri.ExecAsync(
            new ExecRequest { ContainerId = record.Id, Cmd = { command }, Stdin = options.Stdin, Stdout = options.Stdout, Stderr = options.Stderr && !options.Tty, Tty = options.Tty },
            request.Aborted).ConfigureAwait(false);
        await JoinAsync(request, url, options).ConfigureAwait(false);
    }

    public async Task AttachAsync(KubeletRequest request, string ns, string pod, string? uid, string container)
    {
        var record = Running(ns, pod, uid, container);
        // Whether there is a terminal is the container's nature, not the client's wish.
        var spec = PodContainer.Of(pods.Find(ns, pod)!.Pod).First(candidate => candidate.Name == container).Spec;
        var options = Streams(request) with { Tty = spec.Tty ?? false };
        var url = await services.Cri.AttachAsync(
            new AttachRequest { ContainerId = record.Id, Stdin = options.Stdin, Stdout = options.Stdout, Stderr = options.Stderr && !options.Tty, Tty = options.Tty },
            request.Aborted).ConfigureAwait(false);
        await JoinAsync(request, url, options).ConfigureAwait(false);
    }

    public async Task PortForwardAsync(KubeletRequest request, string ns, string pod, string? uid)
    {
        var worker = Find(ns, pod, uid);
        if (worker.Runtime.Sandbox is not { IsReady: true } sandbox) throw new KubeletRequestException(404, $"failed to find sandbox of pod {pod}_{ns}: not running");
        var ports = Ports(request);
        var url = await services.Cri.PortForwardAsync(new PortForwardRequest { PodSandboxId = sandbox.Id, Port = { ports.Select(port => (int)port) } }, request.Aborted).ConfigureAwait(false);
        if (!IsWebSocket(request))
        {
            await PassThroughAsync(request, url, [.. request.Header("X-Stream-Protocol-Version").Select(value => value ?? "")]).ConfigureAwait(false);
            return;
        }
        var offered = Offered(request);
        var tunnel = offered.FirstOrDefault(name => name.StartsWith(TunnelPrefix, StringComparison.Ordinal));
        await using var runtime = await OpenAsync(url, ["portforward.k8s.io"], request.Aborted).ConfigureAwait(false);
        if (tunnel is not null)
        {
            using var socket = await AcceptAsync(request, tunnel).ConfigureAwait(false);
            await RawTunnel.RunAsync(socket, runtime, request.Aborted).ConfigureAwait(false);
            return;
        }
        if (ports.Count == 0) throw new KubeletRequestException(400, "query parameter \"port\" is required");
        var protocol = Choose(offered, ChannelSocket.PortForwardProtocols);
        await using var client = new ChannelSocket(await AcceptAsync(request, protocol).ConfigureAwait(false), protocol);
        await PortForwardProxy.RunAsync(client, runtime, ports, request.Aborted).ConfigureAwait(false);
    }

    public async Task RunAsync(KubeletRequest request, string ns, string pod, string container)
    {
        var record = Running(ns, pod, null, container);
        var command = request.Query("cmd").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var result = await services.Cri.ExecSyncAsync(record.Id, command, TimeSpan.Zero, request.Aborted).ConfigureAwait(false);
        var output = result.Stdout.ToStringUtf8() + result.Stderr.ToStringUtf8();
        await request.AnswerAsync(result.ExitCode == 0 ? 200 : 500, output).ConfigureAwait(false);
    }

    private async Task JoinAsync(KubeletRequest request, string url, StreamOptions options)
    {
        if (!IsWebSocket(request))
        {
            var offered = request.Header("X-Stream-Protocol-Version").SelectMany(value => (value ?? "").Split(',', StringSplitOptions.TrimEntries)).ToArray();
            await PassThroughAsync(request, url, offered.Length > 0 ? offered : s_spdyProtocols).ConfigureAwait(false);
            return;
        }
        var protocol = Choose(Offered(request), ChannelSocket.RemoteCommandProtocols);
        await using var runtime = await OpenAsync(url, ["v4.channel.k8s.io"], request.Aborted).ConfigureAwait(false);
        await using var client = new ChannelSocket(await AcceptAsync(request, protocol).ConfigureAwait(false), protocol);
        await RemoteCommandProxy.RunAsync(client, runtime, options.Stdin, options.Stdout, options.Stderr, options.Tty, request.Aborted).ConfigureAwait(false);
    }

    private static async Task<Stream> OpenAsync(string url, string[] protocols, CancellationToken cancellationToken)
    {
        var answer = await RuntimeStream.ConnectAsync(url, protocols, cancellationToken).ConfigureAwait(false);
        if (answer.StatusCode == 101) return answer.Connection;
        await answer.Connection.DisposeAsync().ConfigureAwait(false);
        throw new KubeletRequestException(answer.StatusCode, answer.Body);
    }

    private static async Task PassThroughAsync(KubeletRequest request, string url, string[] protocols)
    {
        if (request.Upgrade is not { IsUpgradableRequest: true } upgrade) throw new KubeletRequestException(400, "Upgrade request required");
        var answer = await RuntimeStream.ConnectAsync(url, protocols, request.Aborted).ConfigureAwait(false);
        await using var runtime = answer.Connection;
        if (answer.StatusCode != 101) throw new KubeletRequestException(answer.StatusCode, answer.Body);
        request.SetHeader("Upgrade", "SPDY/3.1");
        if (answer.Protocol.Length > 0) request.SetHeader("X-Stream-Protocol-Version", answer.Protocol);
        await using var client = await upgrade.UpgradeAsync().ConfigureAwait(false);
        await RawTunnel.RunAsync(client, runtime, request.Aborted).ConfigureAwait(false);
    }

    private static bool IsWebSocket(KubeletRequest request) => string.Equals(request.Header("Upgrade").ToString(), "websocket", StringComparison.OrdinalIgnoreCase);

    private static List<string> Offered(KubeletRequest request) =>
        [.. request.Header("Sec-WebSocket-Protocol").SelectMany(value => (value ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))];

    // The client's order of preference; a client that names none means the oldest.
    private static string Choose(List<string> offered, string[] known)
    {
        if (offered.Count == 0) return "channel.k8s.io";
        foreach (var protocol in offered)
        {
            if (known.Contains(protocol)) return protocol;
        }
        throw new KubeletRequestException(400, $"unable to negotiate protocol: client supports [{string.Join(' ', offered)}], server supports [{string.Join(' ', known)}]");
    }

    private static async Task<WebSocket> AcceptAsync(KubeletRequest request, string protocol)
    {
        var key = request.Header("Sec-WebSocket-Key").ToString();
        if (key.Length == 0 || request.Upgrade is not { IsUpgradableRequest: true } upgrade) throw new KubeletRequestException(400, "Upgrade request required");
        request.SetHeader("Upgrade", "websocket");
        // The handshake of RFC 6455 asks for SHA-1; nothing is secured by it.
#pragma warning disable CA5350
        request.SetHeader("Sec-WebSocket-Accept", Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(key + WebSocketMagic))));
#pragma warning restore CA5350
        if (request.Header("Sec-WebSocket-Protocol").Count > 0) request.SetHeader("Sec-WebSocket-Protocol", protocol);
        var stream = await upgrade.UpgradeAsync().ConfigureAwait(false);
        return WebSocket.CreateFromStream(stream, new WebSocketCreationOptions { IsServer = true, KeepAliveInterval = TimeSpan.FromSeconds(30) });
    }

    private ContainerRecord Running(string ns, string pod, string? uid, string container)
    {
        var worker = Find(ns, pod, uid);
        if (worker.Runtime.Latest(container) is not { } record) throw new KubeletRequestException(404, $"container not found (\"{container}\")");
        return record.IsRunning ? record : throw new KubeletRequestException(400, $"container {container} is not running");
    }

    private PodWorker Find(string ns, string pod, string? uid)
    {
        var worker = pods.Find(ns, pod);
        if (worker is null || (uid is not null && worker.Pod.Metadata.Uid != uid)) throw new KubeletRequestException(404, $"pod does not exist");
        return worker;
    }

    // The kubelet's own names of the parameters, and the API's.
    private static StreamOptions Streams(KubeletRequest request)
    {
        var options = new StreamOptions(
            request.QueryFlag("input") || request.QueryFlag("stdin"),
            request.QueryFlag("output") || request.QueryFlag("stdout"),
            request.QueryFlag("error") || request.QueryFlag("stderr"),
            request.QueryFlag("tty"));
        return options is { Stdin: false, Stdout: false, Stderr: false }
            ? throw new KubeletRequestException(400, "you must specify at least 1 of stdin, stdout, stderr")
            : options;
    }

    private static List<ushort> Ports(KubeletRequest request)
    {
        var ports = new List<ushort>();
        foreach (var text in request.QueryAll("port").Concat(request.QueryAll("ports")).SelectMany(value => value.Split(',', StringSplitOptions.RemoveEmptyEntries)))
        {
            if (!ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) || port == 0) throw new KubeletRequestException(400, $"unable to parse \"{text}\" as a port");
            ports.Add(port);
        }
        return ports;
    }

    private sealed record StreamOptions(bool Stdin, bool Stdout, bool Stderr, bool Tty);
}
