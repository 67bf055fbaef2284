using System.Collections.Concurrent;
using System.Globalization;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// When what a service's endpoints follow last changed. Slices carry it in upstream's annotation, and proxies tell from it how soon the kernel
/// followed. One call at a time for one service; different services at once.
/// </summary>
internal sealed class TriggerTimes
{
    internal const string Annotation = "endpoints.kubernetes.io/last-change-trigger-time";

    // Untold: a change that was taken, and not told yet
    private readonly ConcurrentDictionary<ObjectKey, (DateTime Service, Dictionary<string, DateTime> Pods, DateTime? Untold)> _known = new();

    /// <summary>
    /// The earliest change that has not been told: the service's making, or a pod's becoming ready or unready. Null = neither. Slices whose write fails, or
    /// waits for something, are told it the next time: it stays until <see cref="Told"/>.
    /// </summary>
    internal DateTime? Take(V1Service service, IEnumerable<V1Pod> pods)
    {
        var key = ObjectKey.Of(service);
        var made = service.Metadata.CreationTimestamp ?? default;
        var isKnown = _known.TryGetValue(key, out var known);
        var now = new Dictionary<string, DateTime>();
        DateTime? earliest = made > known.Service ? made : null;
        foreach (var pod in pods)
        {
            if (PodState.Condition(pod, "Ready")?.LastTransitionTime is not { } changed) continue;
            now[pod.Metadata.Name] = changed;
            if (isKnown && known.Pods.TryGetValue(pod.Metadata.Name, out var before) && changed <= before) continue;
            if (earliest is null || changed < earliest) earliest = changed;
        }
        if (!isKnown) earliest = made == default ? null : made;
        if (known.Untold is { } untold && (earliest is null || untold < earliest)) earliest = untold;
        _known[key] = (made, now, earliest);
        return earliest;
    }

    /// <summary>The slices say all that there is to say.</summary>
    internal void Told(ObjectKey service)
    {
        if (_known.TryGetValue(service, out var known)) _known[service] = known with { Untold = null };
    }

    internal void Forget(ObjectKey service) => _known.TryRemove(service, out _);

    /// <summary>The slice's annotations with that time; without any, a former time is no longer true.</summary>
    internal static IDictionary<string, string>? Write(IDictionary<string, string>? annotations, DateTime? time)
    {
        if (time is null && annotations?.ContainsKey(Annotation) != true) return annotations;
        var written = new Dictionary<string, string>(annotations ?? new Dictionary<string, string>());
        if (time is { } value) written[Annotation] = value.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.FFFFFFF'Z'", CultureInfo.InvariantCulture);
        else written.Remove(Annotation);
        return written.Count == 0 ? null : written;
    }
}
