namespace K3sFast.Controllers;

/// <summary>
/// One control loop. It is constructed once (informers and handlers are asked for there) and run by <see cref="ControllerManager"/>, which
/// runs it again after a failure.
/// </summary>
/// <remarks>
/// Handlers run under their informer's lock. So that no two locks are ever taken in opposite order, a handler of children (pods) may look up
/// owners (replica sets, services), never the other way round; what looks down is done in the reconcile loop.
/// </remarks>
internal abstract class Controller(string name)
{
    /// <summary>The service account that it acts as, such as <c>replicaset-controller</c>.</summary>
    internal string Name { get; } = name;

    /// <summary>Runs until cancelled. The informers have their first list by then.</summary>
    internal abstract Task RunAsync(CancellationToken cancellationToken);
}
