namespace K3sFast.ApiServer.Tests;

/// <summary>Admission that keeps the write of one ConfigMap waiting, and its seat taken, until the test says so.</summary>
internal sealed class AdmissionGate : AdmissionPlugin
{
    internal const string Held = "held";

    private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _open = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Done as soon as the write waits here.</summary>
    internal Task Reached => _reached.Task;

    internal void Open() => _open.TrySetResult();

    internal override async ValueTask MutateAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (!context.Is("", "configmaps") || context.Name != Held)
            return;
        _reached.TrySetResult();
        await _open.Task.WaitAsync(cancel);
    }
}
