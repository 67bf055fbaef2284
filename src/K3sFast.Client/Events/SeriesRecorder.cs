using System.Globalization;
using System.Threading.Channels;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Client;

/// <summary>
/// Writes events of events.k8s.io: the second of its kind makes a series of the first, and further ones are only counted here and told when the series
/// is refreshed or has ended. Recording never waits and never throws.
/// </summary>
public sealed class SeriesRecorder
{
    // Waiting events; more than that are dropped and said so in the log.
    private const int MaxWaiting = 1000;

    // Known events; beyond it new ones are written without being remembered.
    private const int MaxKnown = 4096;

    // Upstream's limit on a note.
    private const int MaxNoteBytes = 1024;

    // Upstream's figures: a series that had nothing for this long has ended; one that goes on is told every half an hour.
    private static readonly TimeSpan s_end = TimeSpan.FromMinutes(6);
    private static readonly TimeSpan s_refresh = TimeSpan.FromMinutes(30);

    // Immutable after construction
    private readonly ApiClient _client;
    private readonly string _controller;
    private readonly string _instance;
    private readonly ILogger _logger;
    private readonly TimeProvider _time;

    // Null is the timer's tick.
    private readonly Channel<Eventsv1Event?> _waiting = Channel.CreateBounded<Eventsv1Event?>(
        new BoundedChannelOptions(MaxWaiting) { FullMode = BoundedChannelFullMode.Wait, SingleReader = true });

    // Owned by the writing loop
    private readonly Dictionary<string, Known> _known = [];

    /// <summary>A recorder for <paramref name="controller"/>, such as default-scheduler.</summary>
    public SeriesRecorder(ApiClient client, string controller, ILogger logger, TimeProvider? time = null)
    {
        (_client, _controller, _logger, _time) = (client, controller, logger, time ?? TimeProvider.System);
        _instance = $"{controller}-{Environment.MachineName}";
    }

    /// <summary>Records that <paramref name="action"/> was taken or failed; <paramref name="related"/> is a second object that matters.</summary>
    public void Record(V1ObjectReference regarding, V1ObjectReference? related, string type, string reason, string action, string note)
    {
        var now = _time.GetUtcNow();
        var value = new Eventsv1Event
        {
            Metadata = new V1ObjectMeta
            {
                Name = string.Create(CultureInfo.InvariantCulture, $"{regarding.Name}.{(now - DateTimeOffset.UnixEpoch).Ticks * 100:x}"),
                NamespaceProperty = string.IsNullOrEmpty(regarding.NamespaceProperty) ? "default" : regarding.NamespaceProperty,
            },
            EventTime = now.UtcDateTime,
            ReportingController = _controller,
            ReportingInstance = _instance,
            Action = action,
            Reason = reason,
            Regarding = regarding,
            Related = related,
            Note = note.Length <= MaxNoteBytes ? note : string.Concat(note.AsSpan(0, MaxNoteBytes - 4), " ..."),
            Type = type,
        };
        if (!_waiting.Writer.TryWrite(value)) Log.EventDropped(_logger, reason, regarding.Name ?? "");
    }

    /// <summary>Writes what is recorded, until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var timer = _time.CreateTimer(static state => ((SeriesRecorder)state!)._waiting.Writer.TryWrite(null), this, s_end, s_end);
        try
        {
            await foreach (var value in _waiting.Reader.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                try
                {
                    await (value is null ? TellAsync(cancellationToken) : WriteAsync(value, cancellationToken)).ConfigureAwait(false);
                }
                catch (ApiException refused) when (refused.IsNamespaceTerminating)
                {
                    // The object goes with its namespace: nobody can be told of it any more.
                }
                catch (Exception failure) when (failure is ApiException or HttpRequestException or IOException)
                {
                    Log.EventFailed(_logger, value?.Reason ?? "", value?.Regarding.Name ?? "", failure.Message);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping: events that still wait are of no use to anybody.
        }
    }

    private async ValueTask WriteAsync(Eventsv1Event value, CancellationToken cancellationToken)
    {
        var now = _time.GetUtcNow();
        var key = KeyOf(value);
        if (_known.TryGetValue(key, out var known))
        {
            known.Count++;
            known.At = now;
            // The first repetition makes the series; later ones are told together.
            if (known.Count == 2)
                await WriteSeriesAsync(known, cancellationToken).ConfigureAwait(false);
            return;
        }
        var created = await _client.CreateAsync(Resources.SeriesEvents, value, cancellationToken).ConfigureAwait(false);
        if (_known.Count < MaxKnown)
            _known[key] = new Known(created) { Count = 1, At = now, Told = now };
    }

    private async ValueTask TellAsync(CancellationToken cancellationToken)
    {
        var now = _time.GetUtcNow();
        foreach (var (key, known) in _known.ToList())
        {
            var hasEnded = now - known.At >= s_end;
            if (known.Count > known.ToldCount && (hasEnded || now - known.Told >= s_refresh))
                await WriteSeriesAsync(known, cancellationToken).ConfigureAwait(false);
            if (hasEnded)
                _known.Remove(key);
        }
    }

    private async ValueTask WriteSeriesAsync(Known known, CancellationToken cancellationToken)
    {
        known.Told = _time.GetUtcNow();
        known.ToldCount = known.Count;
        var series = new Eventsv1EventSeries { Count = known.Count, LastObservedTime = known.At.UtcDateTime };
        try
        {
            var body = PatchBody.StrategicMerge(ModelJson.Serialize(new Eventsv1Event { Series = series }));
            await _client.PatchAsync(Resources.SeriesEvents, known.Value.Metadata.NamespaceProperty, known.Value.Metadata.Name, body, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            // Expired meanwhile: it comes back with its series.
            var again = ModelJson.Clone(known.Value);
            again.Metadata = new V1ObjectMeta { Name = known.Value.Metadata.Name, NamespaceProperty = known.Value.Metadata.NamespaceProperty };
            again.Series = series;
            await _client.CreateAsync(Resources.SeriesEvents, again, cancellationToken).ConfigureAwait(false);
        }
    }

    private static string KeyOf(Eventsv1Event value) => string.Join(
        '\n', value.Type, value.Action, value.Reason, value.Regarding.Kind, value.Regarding.NamespaceProperty, value.Regarding.Name, value.Regarding.Uid, value.Regarding.FieldPath,
        value.Related?.Kind, value.Related?.NamespaceProperty, value.Related?.Name, value.Related?.Uid);

    private sealed record Known(Eventsv1Event Value)
    {
        internal int Count { get; set; }

        internal int ToldCount { get; set; } = 1;

        internal DateTimeOffset At { get; set; }

        internal DateTimeOffset Told { get; set; }
    }
}
