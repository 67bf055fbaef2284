using Grpc.Core;
using K3sFast.Client;
using K3sFast.Interop.Cgroups;
using K3sFast.Kubelet.Cgroups;
using K3sFast.Kubelet.Containers;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Logs;
using K3sFast.Kubelet.Node;
using K3sFast.Kubelet.Pods;
using K3sFast.Kubelet.Probes;
using K3sFast.Kubelet.Server;
using K3sFast.Kubelet.StaticPods;
using K3sFast.Kubelet.Status;
using K3sFast.Kubelet.Volumes;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet;

/// <summary>The node agent: registers the node, runs the pods that are bound to it through the container runtime, and serves the node's API.</summary>
/// <remarks>Wires the parts and runs their loops; knows nothing about any single pod.</remarks>
public sealed class KubeletAgent(KubeletOptions options, ApiClient client, ILoggerFactory loggers)
{
    // A loop that threw is a bug; it is started again after this wait, so that the others go on.
    private static readonly TimeSpan s_restartDelay = TimeSpan.FromSeconds(1);

    // How often what is left of unknown pods is looked for; upstream's housekeeping is every 2 s, ours costs lists of the runtime.
    private static readonly TimeSpan s_housekeeping = TimeSpan.FromSeconds(30);

    private readonly TimeProvider _time = TimeProvider.System;
    private readonly ILogger _logger = loggers.CreateLogger("K3sFast.Kubelet");

    /// <summary>Runs until cancelled. Containers keep running afterwards; the next start finds and keeps them.</summary>
    /// <exception cref="OperationCanceledException">Never: a cancelled run returns.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var cri = new CriClient(options.ContainerdSocket);
        using var http = new HttpProber();
        var machine = MachineInfo.Read(options);
        var cgroups = new PodCgroups(new CgroupTree(options.CgroupMount), options, _logger);
        var events = new EventRecorder(client, "kubelet", options.NodeName, _logger);
        var node = new NodeAgent(options, client, cri, machine, events, _time, _logger);
        var informers = new InformerFactory(client, loggers);
        var podInformer = informers.Get(Resources.Pods, null, new ListOptions(FieldSelector: $"spec.nodeName={options.NodeName}"));
        var serviceInformer = informers.Get(Resources.Services);

        PodManager? manager = null;
        Pleg? pleg = null;
        var objects = new ObjectWatches(client, podUid => manager?.Wake(podUid), loggers, stop.Token);
        var tokens = new TokenManager(client, _time);
        var images = new ImageManager(cri, objects, events, _time);
        var environments = new EnvironmentBuilder(objects, (pod, token) => ServicesAsync(serviceInformer, pod, token));
        var configs = new ContainerConfigBuilder(options, environments, cgroups.IsUnified, machine.MemoryBytes);
        var services = new PodServices
        {
            Options = options,
            Client = client,
            Cri = cri,
            Reader = new PodRuntimeReader(cri),
            Runner = new ContainerRunner(cri, images, configs, new LifecycleHooks(cri, http, _time), events, _time, _logger),
            Images = images,
            Volumes = new VolumeManager(options, client, new PayloadBuilder(objects, tokens), _time, _logger),
            Tokens = tokens,
            Objects = objects,
            Cgroups = cgroups,
            Statuses = new StatusManager(client, _time, _logger, stop.Token),
            Events = events,
            Prober = new Prober(cri, http),
            Machine = machine,
            Time = _time,
            Logger = _logger,
            RestartBackOff = new BackOffTable(TimeSpan.FromSeconds(10), options.MaxContainerBackOff, _time),
            NetworkProblem = () => node.NetworkProblem,
            ExpectChanges = () => pleg?.Expect(),
        };
        manager = new PodManager(services, stop.Token);
        pleg = new Pleg(cri, manager.Wake, _time, _logger);
        node.NetworkReady += manager.WakeAll;
        var staticPods = new StaticPodSource(options, new StaticPodReader(options, _time, _logger), manager, client, _time, _logger);

        try
        {
            await WaitForRuntimeAsync(cri, cgroups, machine, stop.Token).ConfigureAwait(false);
            podInformer.AddHandler(new InformerHandler<V1Pod>(manager.OnApiPod, (_, pod) => manager.OnApiPod(pod), manager.OnApiPodDeleted));
            List<Task> loops =
            [
                LoopAsync("event recorder", events.RunAsync, stop.Token),
                LoopAsync("node agent", node.RunAsync, stop.Token),
                LoopAsync("informers", informers.RunAsync, stop.Token),
                LoopAsync("lifecycle events", pleg.RunAsync, stop.Token),
                LoopAsync("log rotation", new LogRotator(cri, options, _time, _logger).RunAsync, stop.Token),
                LoopAsync("housekeeping", token => HousekeepAsync(manager, podInformer, new ImageCollector(cri, options, _time, _logger), token), stop.Token),
            ];
            if (options.ManifestDir.Length > 0)
            {
                staticPods.ReadNow();
                loops.Add(LoopAsync("static pods", staticPods.RunAsync, stop.Token));
            }
            if (options.Port >= 0) loops.Add(LoopAsync("kubelet API", new KubeletServer(options, client, services, manager, pleg, _logger).RunAsync, stop.Token));
            await Task.WhenAll(loops).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
        }
    }

    private async Task WaitForRuntimeAsync(CriClient cri, PodCgroups cgroups, MachineInfo machine, CancellationToken cancellationToken)
    {
        var lastReason = "";
        while (true)
        {
            try
            {
                var version = await cri.VersionAsync(cancellationToken).ConfigureAwait(false);
                Log.Starting(_logger, options.NodeName, version.RuntimeName, version.RuntimeVersion, cgroups.IsUnified ? 2 : 1);
                break;
            }
            catch (RpcException e) when (!cancellationToken.IsCancellationRequested)
            {
                if (e.Status.Detail != lastReason) Log.RuntimeNotReady(_logger, lastReason = e.Status.Detail);
                await Task.Delay(TimeSpan.FromMilliseconds(50), _time, cancellationToken).ConfigureAwait(false);
            }
        }
        cgroups.CreateRoot(machine.Allocatable["cpu"], (long)machine.Allocatable["memory"]);
    }

    // A pod's variables must not depend on how early it starts; a static pod's must not wait for an API that it may be there to serve.
    private static async ValueTask<IReadOnlyList<V1Service>> ServicesAsync(Informer<V1Service> services, V1Pod pod, CancellationToken cancellationToken)
    {
        if (!services.HasSynced && pod.Annotation(CriLabels.ConfigSource) != "file") await services.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
        return services.List();
    }

    private async Task HousekeepAsync(PodManager manager, Informer<V1Pod> pods, ImageCollector images, CancellationToken cancellationToken)
    {
        // What to run must be known before anything is taken for an orphan.
        await pods.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
        while (true)
        {
            try
            {
                await manager.CleanOrphansAsync(cancellationToken).ConfigureAwait(false);
                await images.CollectAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (RpcException e) when (!cancellationToken.IsCancellationRequested)
            {
                Log.GarbageCollectionFailed(_logger, e.Status.Detail);
            }
            await Task.Delay(s_housekeeping, _time, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task LoopAsync(string name, Func<CancellationToken, Task> run, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                await run(cancellationToken).ConfigureAwait(false);
                return;
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Cancelled && cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // Restarted: the loops keep no state that a fresh start would miss.
                Log.LoopFaulted(_logger, name, e);
            }
            try
            {
                await Task.Delay(s_restartDelay, _time, cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }
}
