using System.Collections.Concurrent;
using K3sFast.Client;
using Microsoft.Extensions.Logging;

namespace K3sFast.Controllers;

/// <summary>
/// kube-controller-manager's place: starts every controller over one set of shared informers, starts a fallen one again with growing delay,
/// and tells how each fares.
/// </summary>
public sealed class ControllerManager
{
    /// <summary>
    /// The name that <c>clientFor</c> is asked with for the shared informers: the manager's own user, system:kube-controller-manager, which
    /// may list and watch everything. Every other name is a service account of kube-system.
    /// </summary>
    public const string SharedIdentity = "kube-controller-manager";

    // A fallen controller is started again after this, doubled each time up to the last.
    private static readonly TimeSpan s_firstRestart = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_lastRestart = TimeSpan.FromMinutes(1);

    // Immutable after construction
    private readonly ControllerContext _context;
    private readonly ILogger _logger;
    private readonly List<Controller> _controllers;

    // Written by each controller's own loop
    private readonly ConcurrentDictionary<string, ControllerHealth> _health = new();

    /// <summary>Builds the controllers; nothing is asked of the API before <see cref="RunAsync"/>.</summary>
    /// <param name="options">What they need to know of the cluster.</param>
    /// <param name="clientFor">A client acting as system:serviceaccount:kube-system:(name), or as the user <see cref="SharedIdentity"/> stands for.</param>
    /// <param name="loggers">Where to log.</param>
    /// <param name="time">The clock; the system's when null.</param>
    public ControllerManager(ControllerManagerOptions options, Func<string, ApiClient> clientFor, ILoggerFactory loggers, TimeProvider? time = null)
    {
        _logger = loggers.CreateLogger("K3sFast.Controllers");
        _context = new ControllerContext(options, clientFor, loggers, time ?? TimeProvider.System);
        _controllers = ControllerList.Create(_context);
        foreach (var controller in _controllers) _health[controller.Name] = new ControllerHealth(controller.Name, false, 0, null);
    }

    /// <summary>Each controller's state now, by name. Any thread.</summary>
    public IReadOnlyDictionary<string, ControllerHealth> Health => _health;

    /// <summary>Runs all controllers until cancelled. Does not wait for the API to be there: the informers ask until it is.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        Log.Started(_logger, string.Join(", ", _controllers.Select(static controller => controller.Name)));
        if (ControllerList.Missing.Count > 0) Log.Missing(_logger, string.Join(", ", ControllerList.Missing));
        var tasks = new List<Task> { _context.Informers.RunAsync(cancellationToken) };
        foreach (var recorder in _context.Recorders) tasks.Add(recorder.RunAsync(cancellationToken));
        try
        {
            await _context.Informers.WaitForSyncAsync(cancellationToken).ConfigureAwait(false);
            foreach (var controller in _controllers) tasks.Add(KeepRunningAsync(controller, cancellationToken));
        }
        catch (OperationCanceledException)
        {
            // Stopped before the first lists were there.
        }
        await Task.WhenAll(tasks).ConfigureAwait(false);
    }

    private async Task KeepRunningAsync(Controller controller, CancellationToken cancellationToken)
    {
        var delay = s_firstRestart;
        while (!cancellationToken.IsCancellationRequested)
        {
            var started = _context.Time.GetTimestamp();
            try
            {
                _health[controller.Name] = _health[controller.Name] with { IsRunning = true };
                await controller.RunAsync(cancellationToken).ConfigureAwait(false);
                _health[controller.Name] = _health[controller.Name] with { IsRunning = false };
                if (cancellationToken.IsCancellationRequested) return;
                throw new InvalidOperationException("the loop ended by itself");
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception failure)
            {
                var known = _health[controller.Name];
                _health[controller.Name] = known with { IsRunning = false, Restarts = known.Restarts + 1, LastFailure = failure.Message };
                if (_context.Time.GetElapsedTime(started) > s_lastRestart) delay = s_firstRestart;
                Log.ControllerFailed(_logger, controller.Name, delay.TotalMilliseconds, failure);
            }
            try
            {
                await Task.Delay(delay, _context.Time, cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            delay = delay * 2 < s_lastRestart ? delay * 2 : s_lastRestart;
        }
    }
}
