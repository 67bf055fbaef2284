using K3sFast.Configuration;
using K3sFast.Containerd;
using Microsoft.Extensions.Logging;

namespace K3sFast.Server;

/// <summary>The container runtime of a node: ours, or a foreign socket.</summary>
internal sealed record NodeRuntime(string Socket, ContainerdSupervisor? Supervisor, ImageImporter? Importer)
{
    // Where the distribution's packages and every CNI's own installer put things.
    private const string SystemCniBin = "/opt/cni/bin", SystemCniConf = "/etc/cni/net.d";

    /// <summary>Starts containerd, or finds the one of an earlier run, and returns when it answers.</summary>
    /// <param name="config">The node.</param>
    /// <param name="hasOwnNetwork">False leaves the pod network to whatever CNI the machine has.</param>
    /// <param name="loggers">Where it tells.</param>
    /// <param name="cancellationToken">Ends the start.</param>
    /// <exception cref="ConfigurationException">There is no containerd.</exception>
    public static async Task<NodeRuntime> StartAsync(NodeConfig config, bool hasOwnNetwork, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        if (config.RuntimeEndpoint.Length > 0)
            return new(config.RuntimeEndpoint.Replace("unix://", "", StringComparison.Ordinal), null, null);
        var (containerd, searchPath) = ContainerdSupervisor.FindPrograms(Environment.GetEnvironmentVariable("PATH"));
        var log = loggers.CreateLogger("K3sFast.Containerd");
        var supervisor = new ContainerdSupervisor(new()
        {
            Paths = config.Paths,
            PauseImage = config.PauseImage.Length > 0 ? config.PauseImage : PauseImage.Name,
            CniBinDir = hasOwnNetwork ? "" : SystemCniBin,
            CniConfDir = hasOwnNetwork ? "" : SystemCniConf,
            Snapshotter = config.Snapshotter,
            DefaultRuntime = config.DefaultRuntime,
            NonRootDevices = config.NonRootDevices,
            IsDebug = log.IsEnabled(LogLevel.Trace),
            RestrictOomScore = !ProcessCapabilities.HasSysResource(),
            ContainerdPath = containerd,
            SearchPath = searchPath,
        }, log);
        await supervisor.StartAsync(cancellationToken).ConfigureAwait(false);
        var importer = new ImageImporter(supervisor.Connection, config.Paths.Images, log);
        if (config.PauseImage.Length == 0)
            await importer.ImportPauseAsync(cancellationToken).ConfigureAwait(false);
        return new(config.Paths.ContainerdSocket, supervisor, importer);
    }

    /// <summary>A start that fails leaves nothing running that it began.</summary>
    public static async Task AbandonAsync(Task<NodeRuntime?> runtime)
    {
        await ((Task)runtime).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (runtime.IsCompletedSuccessfully && (await runtime.ConfigureAwait(false))?.Supervisor is { } supervisor)
            await supervisor.AbandonAsync().ConfigureAwait(false);
    }
}
