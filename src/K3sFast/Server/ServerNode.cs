using System.Runtime.InteropServices;
using K3sFast.AddOns.Dns;
using K3sFast.Agent;
using K3sFast.Client;
using K3sFast.Configuration;
using K3sFast.Host;
using K3sFast.Network.Proxy;
using K3sFast.Controllers;
using K3sFast.Datastore;
using K3sFast.Pki;
using K3sFast.Scheduler;
using Microsoft.Extensions.Logging;

namespace K3sFast.Server;

/// <summary>Everything of one server in one process: started side by side where nothing leans on it, stopped by signal.</summary>
/// <remarks>Stopping leaves containerd and every container running; the next start adopts them.</remarks>
internal sealed class ServerNode
{
    private static readonly TimeSpan s_passwordDelay = TimeSpan.FromSeconds(3);

    private readonly ServerConfig _config;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _log;

    private ServerNode(ServerConfig config, ILoggerFactory loggers)
    {
        _config = config;
        _loggers = loggers;
        _log = loggers.CreateLogger("K3sFast.Server");
    }

    /// <summary>Runs until SIGTERM or SIGINT.</summary>
    /// <returns>Exit code 0.</returns>
    /// <exception cref="ConfigurationException">The node cannot start; the message says why and what to do.</exception>
    public static Task<int> RunAsync(ServerConfig config, ILoggerFactory loggers) => new ServerNode(config, loggers).RunAsync();

    private async Task<int> RunAsync()
    {
        if (!Environment.IsPrivilegedProcess && _config.HasAgent)
            throw new ConfigurationException("must run as root unless --disable-agent is specified");
        if (_config.HasAgent && HostChecks.Missing(HostChecks.All(KernelConfig.Read()), _config.Proxy.Mode != ProxyMode.Userspace) is { } missing)
            throw new ConfigurationException(missing);
        using var stop = new CancellationTokenSource();
        using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);

        _log.Starting(ProductVersion.Text);
        var started = Environment.TickCount64;
        _config.Paths.CreateDirectories();
        using var instance = InstanceLock.Take(_config.Paths);

        try
        {
            // Made beside the opening of the store, unless they lie in it.
            var own = _config.Datastore.IsShared ? null : Task.Run(() => ClusterPki.Begin(_config, TimeProvider.System));
            var runtime = _config.HasAgent ? StartRuntimeAsync(stop.Token) : Task.FromResult<NodeRuntime?>(null);
            var plane = await StartPlaneAsync(store => own ?? JoinAsync(store, stop.Token), runtime, stop.Token).ConfigureAwait(false);
            await using (plane.ConfigureAwait(false))
            {
                _log.ApiReady(Environment.TickCount64 - started);
                await plane.Certificates.FinishAsync(_config, TimeProvider.System).ConfigureAwait(false);
                _log.KubeconfigWritten(_config.KubeconfigPath);
                SystemdNotifier.Send("READY=1");

                var runner = new ComponentRunner(_log, stop.Token);
                var certificates = plane.Certificates;
                StartControlLoops(runner, plane, certificates);
                runner.Start("node passwords", plane.FollowPasswordsAsync);
                if (_config.HasAgent)
                    StartAgent(runner, plane, certificates, await runtime.ConfigureAwait(false));
                if (_config.HasDns)
                    StartDns(runner, plane);
                await MemorySettler.RunAsync(stop.Token).ConfigureAwait(false);
                _log.Stopping();
                SystemdNotifier.Send("STOPPING=1");
                await runner.WhenAllAsync().WaitAsync(TimeSpan.FromSeconds(10)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            if (runtime.IsCompletedSuccessfully)
                (await runtime.ConfigureAwait(false))?.Supervisor?.Dispose();
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

    /// <summary>Servers that share a datastore are of one cluster: its authorities lie there.</summary>
    private Task<ClusterPki> JoinAsync(IDatastore store, CancellationToken ct) => new ClusterBootstrap(store, _config, _log).JoinAsync(ct);

    private async Task<ControlPlane> StartPlaneAsync(Func<IDatastore, Task<ClusterPki>> pki, Task<NodeRuntime?> runtime, CancellationToken ct)
    {
        try
        {
            var plane = ControlPlane.StartAsync(_config, pki, _loggers, ct);
            // A missing containerd ends the start even while the API is still opening its store.
            var first = await Task.WhenAny(plane, runtime).ConfigureAwait(false);
            if (first == runtime)
                await runtime.ConfigureAwait(false);
            return await plane.ConfigureAwait(false);
        }
        catch
        {
            await NodeRuntime.AbandonAsync(runtime).ConfigureAwait(false);
            throw;
        }
    }

    private async Task<NodeRuntime?> StartRuntimeAsync(CancellationToken ct) =>
        await NodeRuntime.StartAsync(_config, NodeNetwork.HasPodNetwork(_config, ClusterSettings.Of(_config)), _loggers, ct).ConfigureAwait(false);

    private void StartControlLoops(ComponentRunner runner, ControlPlane plane, ClusterPki pki)
    {
        if (_config.HasControllers)
        {
            var options = new ControllerManagerOptions
            {
                ClusterCidr = string.Join(',', _config.ClusterCidrs),
                ServiceCidr = string.Join(',', _config.ServiceCidrs),
                RootCaPem = File.ReadAllText(pki.ServerCa.CertificatePath),
                ClientAuthority = new(pki.ClientCa.Issuer, pki.ClientCa.Key),
                ServingAuthority = new(pki.ServerCa.Issuer, pki.ServerCa.Key),
                SigningDuration = _config.ControllerArgs.Duration("cluster-signing-duration", TimeSpan.FromDays(365)),
                LegacyTokenCleanUpPeriod = _config.ControllerArgs.Duration("legacy-service-account-token-clean-up-period", TimeSpan.FromDays(365)),
                SignTokenOfSecret = plane.SignTokenOfSecret,
                NodeCidrMaskSize = _config.ControllerArgs.Number("node-cidr-mask-size-ipv4", _config.ControllerArgs.Number("node-cidr-mask-size", 24, 8, 30), 8, 30),
                NodeCidrMaskSizeV6 = _config.ControllerArgs.Number("node-cidr-mask-size-ipv6", 64, 48, 124),
                TerminatedPodThreshold = _config.ControllerArgs.Number("terminated-pod-gc-threshold", 12500, 0, int.MaxValue),
            };
            StartLed(runner, plane, "controllers", "kube-controller-manager", _config.ControllerArgs, ct => new ControllerManager(options, ClientOfController, _loggers).RunAsync(ct));
            plane.Components.Report("controller-manager", () => runner.WhyNotRunning("controllers"));
        }
        if (_config.HasScheduler)
        {
            StartLed(runner, plane, "scheduler", "kube-scheduler", _config.SchedulerArgs, ct => new Scheduler.Scheduler(new SchedulerOptions(), plane.ClientFor("system:kube-scheduler"), _loggers).RunAsync(ct));
            plane.Components.Report("scheduler", () => runner.WhyNotRunning("scheduler"));
        }
        NodeParts.WarnUnused(_log, _config.ControllerArgs, _config.SchedulerArgs);

        ApiClient ClientOfController(string name) => name == ControllerManager.SharedIdentity
            ? plane.ClientFor("system:kube-controller-manager")
            : plane.ClientFor("system:serviceaccount:kube-system:" + name, "system:serviceaccounts", "system:serviceaccounts:kube-system");
    }

    /// <summary>Where servers share a datastore, one of them does this work: who holds the Lease of that name. A server alone needs no Lease.</summary>
    private void StartLed(ComponentRunner runner, ControlPlane plane, string name, string lease, ComponentArguments arguments, Func<CancellationToken, Task> work)
    {
        var standard = LeaderElectionOptions.Default;
        var times = new LeaderElectionOptions(
            arguments.Duration("leader-elect-lease-duration", standard.LeaseDuration),
            arguments.Duration("leader-elect-renew-deadline", standard.RenewDeadline),
            arguments.Duration("leader-elect-retry-period", standard.RetryPeriod));
        if (times.LeaseDuration <= times.RenewDeadline || times.RenewDeadline <= times.RetryPeriod || times.RetryPeriod <= TimeSpan.Zero)
            throw new ConfigurationException($"{lease}: leader-elect-lease-duration must be longer than leader-elect-renew-deadline, and that longer than leader-elect-retry-period");
        if (arguments.Text("leader-elect", _config.Datastore.IsShared ? "true" : "false") != "true")
        {
            runner.Start(name, work);
            return;
        }
        var client = plane.ClientFor("system:" + lease);
        runner.Start(name, ct => new LeaderElector(
            client, lease, LeaderElector.NewIdentity(_config.NodeName), times, _loggers.CreateLogger("K3sFast.Election")).RunAsync(work, ct));
    }

    private void StartAgent(ComponentRunner runner, ControlPlane plane, ClusterPki pki, NodeRuntime? runtime)
    {
        if (runtime is null)
            return;
        var serving = new RenewedCertificate(() => pki.RenewServingKubelet(_config, TimeProvider.System.GetUtcNow()));
        var access = new NodeAccess(
            plane.ClientFor("system:node:" + _config.NodeName, "system:nodes"),
            plane.ClientFor("system:kube-proxy"),
            plane.ClientFor("system:k3s-controller"),
            () => serving.Current,
            pki.ClientCa.Chain);
        NodeParts.Start(runner, _config, ClusterSettings.Of(_config), access, runtime, _loggers);
        runner.Start("certificates", serving.FollowAsync);
        runner.Start("control-plane role", ct => new ControlPlaneRole(_config.NodeName, plane.ClientFor("system:k3s-supervisor", "system:masters"), _loggers).RunAsync(ct));
        var password = NodePasswordFile.Ensure(_config.Paths);
        runner.Start("node password", async ct =>
        {
            // A hash that is slow on purpose has time until the node is up; nobody else has the name in the meantime who has not had it before.
            await Task.Delay(s_passwordDelay, ct).ConfigureAwait(false);
            await plane.Passwords.ClaimAsync(_config.NodeName, password, ct).ConfigureAwait(false);
            await Task.Delay(Timeout.Infinite, ct).ConfigureAwait(false);
        });
        NodeParts.WarnUnused(_log, _config.KubeletArgs);
    }

    private void StartDns(ComponentRunner runner, ControlPlane plane)
    {
        var options = new DnsOptions
        {
            NodeName = _config.NodeName, NodeIPs = _config.NodeIPs, ServerAddress = _config.AdvertiseAddress, AwaitsNodes = !_config.HasAgent,
            // With plain routes (host-gw) there is no link of its own between the nodes, and nothing to reach it through.
            IsReachedThroughPodNetwork = _config is { FlannelExternalIP: true, HasAgent: true, FlannelBackend: "vxlan" or "wireguard-native" },
            ClusterDns = _config.ClusterDns, ClusterDomain = _config.ClusterDomain, ResolvConf = NodeResolver.Choose(_config),
        };
        var client = plane.ClientFor("system:serviceaccount:kube-system:coredns", "system:serviceaccounts", "system:serviceaccounts:kube-system");
        runner.Start("dns", ct => new DnsServer(options, client, _loggers).RunAsync(ct));
    }
}
