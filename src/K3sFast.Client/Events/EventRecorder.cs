using System.Globalization;
using System.Threading.Channels;
using k8s;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Client;

/// <summary>
/// Writes events about objects, as <c>kubectl describe</c> shows them: equal ones are counted up instead of written anew, and a flood about one
/// object is cut, as upstream's correlator does. Recording never waits and never throws.
/// </summary>
public sealed class EventRecorder
{
    // Waiting events; more than that are dropped, and said so once in the log. Bounds memory while the API is away.
    private const int MaxWaiting = 1000;

    // Objects of which it is remembered that their namespace goes; of the others the API is asked once more.
    private const int MaxEnding = 1024;

    // Immutable after construction
    private readonly ApiClient _client;
    private readonly string _component;
    private readonly string? _host;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;
    private readonly Channel<Corev1Event> _waiting = Channel.CreateBounded<Corev1Event>(
        new BoundedChannelOptions(MaxWaiting) { FullMode = BoundedChannelFullMode.Wait, SingleReader = true });

    // Owned by the writing loop
    private readonly EventCorrelator _correlator;
    private readonly RecentMap<string> _ending = new(MaxEnding);

    /// <summary>A recorder for <paramref name="component"/> (such as kubelet), on <paramref name="host"/> where that matters.</summary>
    public EventRecorder(ApiClient client, string component, string? host, ILogger logger, TimeProvider? time = null)
    {
        (_client, _component, _host, _logger, _time) = (client, component, host, logger, time ?? TimeProvider.System);
        _correlator = new EventCorrelator(_time);
    }

    /// <summary>An event of type Normal.</summary>
    public void Normal<T>(Resource<T> resource, T about, string reason, string message, string? fieldPath = null)
        where T : class, IKubernetesObject<V1ObjectMeta> => Record(Reference(resource, about, fieldPath), "Normal", reason, message);

    /// <summary>An event of type Warning.</summary>
    public void Warning<T>(Resource<T> resource, T about, string reason, string message, string? fieldPath = null)
        where T : class, IKubernetesObject<V1ObjectMeta> => Record(Reference(resource, about, fieldPath), "Warning", reason, message);

    /// <summary>An event about <paramref name="about"/>.</summary>
    public void Record(V1ObjectReference about, string type, string reason, string message)
    {
        var now = _time.GetUtcNow();
        var value = new Corev1Event
        {
            Metadata = new V1ObjectMeta
            {
                // Upstream's form: object name, dot, time in hexadecimal nanoseconds.
                Name = string.Create(CultureInfo.InvariantCulture, $"{about.Name}.{(now - DateTimeOffset.UnixEpoch).Ticks * 100:x}"),
                NamespaceProperty = string.IsNullOrEmpty(about.NamespaceProperty) ? "default" : about.NamespaceProperty,
            },
            InvolvedObject = about,
            Type = type,
            Reason = reason,
            Message = message,
            Source = new V1EventSource { Component = _component, Host = _host },
            ReportingComponent = _component,
            ReportingInstance = _host ?? "",
            FirstTimestamp = now.UtcDateTime,
            LastTimestamp = now.UtcDateTime,
            Count = 1,
        };
        if (!_waiting.Writer.TryWrite(value)) Log.EventDropped(_logger, reason, about.Name ?? "");
    }

    /// <summary>Writes what is recorded, until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var value in _waiting.Reader.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                try
                {
                    await WriteAsync(value, cancellationToken).ConfigureAwait(false);
                }
                catch (ApiException refused) when (refused.IsNamespaceTerminating)
                {
                    // The object goes with its namespace: nobody can be told of it any more, and a probe that fails every second need not ask.
                    if (value.InvolvedObject.Uid is { Length: > 0 } uid) _ending.Set(uid, uid);
                }
                catch (Exception failure) when (failure is ApiException or HttpRequestException or IOException)
                {
                    Log.EventFailed(_logger, value.Reason, value.InvolvedObject.Name ?? "", failure.Message);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping: events that still wait are of no use to anybody.
        }
    }

    /// <summary>A reference to an object, with the field path of the part that is meant (such as <c>spec.containers{web}</c>).</summary>
    public static V1ObjectReference Reference<T>(Resource<T> resource, T about, string? fieldPath = null)
        where T : class, IKubernetesObject<V1ObjectMeta> => new()
        {
            ApiVersion = resource.ApiVersion,
            Kind = resource.Kind,
            Name = about.Metadata.Name,
            NamespaceProperty = about.Metadata.NamespaceProperty,
            Uid = about.Metadata.Uid,
            ResourceVersion = about.Metadata.ResourceVersion,
            FieldPath = fieldPath,
        };

    private async ValueTask WriteAsync(Corev1Event value, CancellationToken cancellationToken)
    {
        if (value.InvolvedObject.Uid is { } uid && _ending.Find(uid) is not null) return;
        var fate = _correlator.Correlate(value, out var key);
        if (fate == EventFate.Drop) return;
        if (fate == EventFate.Update)
        {
            var patch = new Corev1Event { Count = value.Count, LastTimestamp = value.LastTimestamp, Message = value.Message };
            try
            {
                var body = PatchBody.StrategicMerge(ModelJson.Serialize(patch));
                await _client.PatchAsync(Resources.Events, value.Metadata.NamespaceProperty, value.Metadata.Name, body, cancellationToken).ConfigureAwait(false);
                return;
            }
            catch (ApiException gone) when (gone.IsNotFound)
            {
                // Expired meanwhile: written anew below, with the count that it had.
            }
        }
        _correlator.Wrote(key, await _client.CreateAsync(Resources.Events, value, cancellationToken).ConfigureAwait(false));
    }
}
