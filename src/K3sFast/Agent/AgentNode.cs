using System.Diagnostics;
using System.Net.Security;
using System.Runtime.InteropServices;
using System.Security.Cryptography.X509Certificates;
using K3sFast.Client;
using K3sFast.Configuration;
using K3sFast.Host;
using K3sFast.Network.Proxy;
using K3sFast.Server;
using K3sFast.Supervisor;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Agent;

/// <summary>A node that joins a cluster: finds a server, gets its certificates, and runs what every node runs.</summary>
/// <remarks>Stopping leaves containerd and every container running; the next start adopts them.</remarks>
internal sealed class AgentNode
{
    // As k3s: a server that is not there yet is asked again, at times that differ from node to node.
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(2);

    private readonly AgentConfig _config;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _log;

    private AgentNode(AgentConfig config, ILoggerFactory loggers) => (_config, _loggers, _log) = (config, loggers, loggers.CreateLogger("K3sFast.Agent"));

    /// <summary>Runs until SIGTERM or SIGINT.</summary>
    /// <returns>Exit code 0.</returns>
    /// <exception cref="ConfigurationException">The node cannot join; the message says why and what to do.</exception>
    public static Task<int> RunAsync(AgentConfig config, ILoggerFactory loggers) => new AgentNode(config, loggers).RunAsync();

    private async Task<int> RunAsync()
    {
        if (!Environment.IsPrivilegedProcess)
            throw new ConfigurationException("must run as root");
        if (HostChecks.Missing(HostChecks.All(KernelConfig.Read()), _config.Proxy.Mode != ProxyMode.Userspace) is { } missing)
            throw new ConfigurationException(missing);
        using var stop = new CancellationTokenSource();
        using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);

        _log.Starting(ProductVersion.Text);
        _config.Paths.CreateDirectories(isServer: false);
        using var instance = InstanceLock.Take(_config.Paths);
        try
        {
            var runner = new ComponentRunner(_log, stop.Token);
            using var balancer = _config.HasLoadBalancer
                ? new LoadBalancer(_config.Server, _config.LoadBalancerPort, Path.Combine(_config.Paths.AgentEtc, "k3s-agent-load-balancer.json"), _log)
                : null;
            if (balancer is not null)
                runner.Start("load balancer", balancer.RunAsync);
            await JoinAsync(runner, balancer, stop.Token).ConfigureAwait(false);
            SystemdNotifier.Send("READY=1");

            await Task.Delay(Timeout.Infinite, stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _log.Stopping();
            SystemdNotifier.Send("STOPPING=1");
            await runner.WhenAllAsync().WaitAsync(TimeSpan.FromSeconds(10)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return 0;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            return 0;
        }

        void OnSignal(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.Cancel();
        }
    }

    private async Task JoinAsync(ComponentRunner runner, LoadBalancer? balancer, CancellationToken ct)
    {
        var started = Stopwatch.GetTimestamp();
        var url = balancer?.Url ?? _config.Server;
        var token = JoinToken.Parse(_config.Token);
        var identity = new NodeIdentity(_config.NodeName, NodePasswordFile.Ensure(_config.Paths), [.. _config.NodeIPs.Union(_config.NodeExternalIPs)]);

        var (supervisor, settings) = await AskAsync(async () =>
        {
            var client = await SupervisorClient.ConnectAsync(url, token, _log, ct).ConfigureAwait(false);
            return (client, ClusterSettingsJson.Read(await client.GetAsync("/v1-k3s/config", ct).ConfigureAwait(false)));
        }, ct).ConfigureAwait(false);
        var runtime = StartRuntimeAsync(settings, ct);
        NodeCertificates certificates;
        try
        {
            certificates = await AskAsync(() => NodeCertificates.ObtainAsync(supervisor, _config.Paths, identity, _log, ct), ct).ConfigureAwait(false);
            _log.Joined(_config.Server.ToString(), (long)Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            WriteKubeconfigs(url);
            await runtime.ConfigureAwait(false);
        }
        catch
        {
            await NodeRuntime.AbandonAsync(runtime).ConfigureAwait(false);
            throw;
        }

        ApiClient Client(Func<X509Certificate2> certificate) => new(new HttpApiTransport(url, certificates.ServerAuthorities, certificate));
        var access = new NodeAccess(
            Client(() => certificates.Kubelet), Client(() => certificates.KubeProxy), Client(() => certificates.Controller), () => certificates.ServingKubelet, certificates.ClientAuthorities);
        NodeParts.Start(runner, _config, settings, access, (await runtime.ConfigureAwait(false))!, _loggers);
        runner.Start("certificates", stop => certificates.FollowAsync(supervisor, TimeProvider.System, stop));
        if (balancer is not null)
        {
            runner.Start("servers", stop => FollowServersAsync(balancer, access.Proxy, stop));
            runner.Start("server health", stop => balancer.CheckAsync((address, cancel) => IsHealthyAsync(address, certificates, cancel), TimeProvider.System, stop));
        }
        NodeParts.WarnUnused(_log, _config.KubeletArgs);
    }

    private async Task<NodeRuntime?> StartRuntimeAsync(ClusterSettings settings, CancellationToken ct) =>
        await NodeRuntime.StartAsync(_config, NodeNetwork.HasPodNetwork(_config, settings), _loggers, ct).ConfigureAwait(false);

    // Until a server answers. One that says no is believed: waiting would not change its mind.
    private async Task<T> AskAsync<T>(Func<Task<T>> ask, CancellationToken ct)
    {
        while (true)
        {
            try
            {
                return await ask().ConfigureAwait(false);
            }
            catch (ServerRefusedException e) when (e.StatusCode is 401)
            {
                throw new ConfigurationException(
                    $"{_config.Server} refused the token ({e.Message}): use the token in server/node-token of that server's data directory, by --token, --token-file or K3S_TOKEN", e);
            }
            catch (ServerRefusedException e) when (e.StatusCode is 400 or 403 or 405)
            {
                throw new ConfigurationException($"{_config.Server} refused node {_config.NodeName}: {e.Message}", e);
            }
            catch (Exception e) when (e is ServerRefusedException or HttpRequestException or IOException || (e is OperationCanceledException && !ct.IsCancellationRequested))
            {
                _log.WaitingForServer(_config.Server.ToString(), e.InnerException?.Message ?? e.Message);
            }
            await Task.Delay(s_retry + TimeSpan.FromMilliseconds(Random.Shared.Next(1000)), ct).ConfigureAwait(false);
        }
    }

    private void WriteKubeconfigs(Uri url)
    {
        var agent = _config.Paths.Agent;
        foreach (var (file, certificate) in ((string, string)[])[("kubelet", "client-kubelet"), ("kubeproxy", "client-kube-proxy"), ("k3scontroller", "client-k3s-controller")])
        {
            Pki.Kubeconfig.WriteComponent(
                Path.Combine(agent, file + ".kubeconfig"), url.AbsoluteUri.TrimEnd('/'), Path.Combine(agent, "server-ca.crt"),
                Path.Combine(agent, certificate + ".crt"), Path.Combine(agent, certificate + ".key"));
        }
    }

    // The kubernetes Service leads to every server that is ready.
    private async Task FollowServersAsync(LoadBalancer balancer, ApiClient client, CancellationToken ct)
    {
        var slices = new Informer<V1EndpointSlice>(
            client, Resources.EndpointSlices, "default", new ListOptions(LabelSelector: "kubernetes.io/service-name=kubernetes"), _loggers.CreateLogger("K3sFast.Client.Informer"));
        slices.AddHandler(_ => balancer.Update(ServerAddresses.Of(slices.List())));
        await slices.RunAsync(ct).ConfigureAwait(false);
    }

    private static async Task<bool> IsHealthyAsync(string address, NodeCertificates certificates, CancellationToken ct)
    {
        using var handler = new SocketsHttpHandler { UseProxy = false, ConnectTimeout = TimeSpan.FromSeconds(3) };
        // A server may be reached by an address that its certificate does not name; it names this.
        handler.SslOptions.TargetHost = "kubernetes";
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.AddRange(certificates.ServerAuthorities);
        using var http = new HttpClient(handler) { Timeout = TimeSpan.FromSeconds(3) };
        try
        {
            using var answer = await http.GetAsync(new Uri($"https://{address}/ping"), ct).ConfigureAwait(false);
            return answer.IsSuccessStatusCode;
        }
        catch (Exception e) when (e is HttpRequestException || (e is OperationCanceledException && !ct.IsCancellationRequested))
        {
            return false;
        }
    }
}
