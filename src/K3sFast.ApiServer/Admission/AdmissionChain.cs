using System.Diagnostics;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// One admission plugin. Mutating runs before validation of the object, validating after it; both in upstream's order over all plugins.
/// </summary>
/// <remarks>Any thread. Most plugins only read the watch caches; one that must write or ask overrides the asynchronous form.</remarks>
internal abstract class AdmissionPlugin
{
    /// <summary>Upstream's name; "" for what is no plugin there.</summary>
    internal string Name { get; set; } = "";

    internal virtual void Mutate(AdmissionContext context)
    {
    }

    internal virtual void Validate(AdmissionContext context)
    {
    }

    internal virtual ValueTask MutateAsync(AdmissionContext context, CancellationToken cancel)
    {
        Mutate(context);
        return ValueTask.CompletedTask;
    }

    internal virtual ValueTask ValidateAsync(AdmissionContext context, CancellationToken cancel)
    {
        Validate(context);
        return ValueTask.CompletedTask;
    }
}

/// <summary>The plugins that are on, in order, each of them timed.</summary>
internal sealed class AdmissionChain(IReadOnlyList<AdmissionPlugin> plugins, AdmissionMetrics metrics)
{
    private readonly AdmissionPlugin[] _plugins = [.. plugins];
    private readonly AdmissionMetrics.PluginSeries?[] _series = [.. plugins.Select(plugin => plugin.Name.Length == 0 ? null : metrics.Plugin(plugin.Name))];

    /// <summary>Lets the plugins change the object; once more when one that changed it asks for that.</summary>
    internal async ValueTask MutateAsync(AdmissionContext context, CancellationToken cancel)
    {
        await RunAsync(context, isMutating: true, cancel).ConfigureAwait(false);
        if (!context.IsReinvocationWanted)
            return;
        context.Reinvocation.IsSecond = true;
        await RunAsync(context, isMutating: true, cancel).ConfigureAwait(false);
    }

    internal ValueTask ValidateAsync(AdmissionContext context, CancellationToken cancel) => RunAsync(context, isMutating: false, cancel);

    private async ValueTask RunAsync(AdmissionContext context, bool isMutating, CancellationToken cancel)
    {
        var began = Stopwatch.GetTimestamp();
        var started = began;
        var i = 0;
        try
        {
            for (; i < _plugins.Length; i++)
            {
                await (isMutating ? _plugins[i].MutateAsync(context, cancel) : _plugins[i].ValidateAsync(context, cancel)).ConfigureAwait(false);
                _series[i]?.Observe(context.Operation, isMutating, isRejected: false, started);
                started = Stopwatch.GetTimestamp();
            }
            metrics.Step(context.Operation, isMutating, isRejected: false, began);
        }
        catch (ApiStatusException)
        {
            _series[i]?.Observe(context.Operation, isMutating, isRejected: true, started);
            metrics.Step(context.Operation, isMutating, isRejected: true, began);
            throw;
        }
    }
}
