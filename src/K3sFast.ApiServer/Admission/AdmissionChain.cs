namespace K3sFast.ApiServer;

/// <summary>
/// One admission plugin. Mutating runs before validation of the object, validating after it; both in upstream's order over all plugins.
/// </summary>
/// <remarks>Any thread. Most plugins only read the watch caches; one that must write or ask overrides the asynchronous form.</remarks>
internal abstract class AdmissionPlugin
{
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

/// <summary>The plugins that are on, in order.</summary>
internal sealed class AdmissionChain(params IReadOnlyList<AdmissionPlugin> plugins)
{
    private readonly AdmissionPlugin[] _plugins = [.. plugins];

    internal async ValueTask MutateAsync(AdmissionContext context, CancellationToken cancel)
    {
        foreach (var plugin in _plugins)
            await plugin.MutateAsync(context, cancel).ConfigureAwait(false);
    }

    internal async ValueTask ValidateAsync(AdmissionContext context, CancellationToken cancel)
    {
        foreach (var plugin in _plugins)
            await plugin.ValidateAsync(context, cancel).ConfigureAwait(false);
    }
}
