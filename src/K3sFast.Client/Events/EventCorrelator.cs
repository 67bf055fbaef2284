using k8s.Models;

namespace K3sFast.Client;

/// <summary>What becomes of a recorded event.</summary>
internal enum EventFate : byte
{
    /// <summary>It is written as a new event.</summary>
    Create,

    /// <summary>An event that was written counts one more.</summary>
    Update,

    /// <summary>Its source says too much about its object.</summary>
    Drop,
}

/// <summary>
/// Upstream's rules against floods of events, in its order: similar events (all the same but the message) become one "combined" event once there are ten
/// within ten minutes; equal events are counted up; and a source that says too much about one object is cut.
/// </summary>
/// <remarks>One thread.</remarks>
internal sealed class EventCorrelator(TimeProvider clock)
{
    private const string CombinedPrefix = "(combined from similar events): ";

    // Upstream's figures.
    private const int MaxSimilar = 10;
    private static readonly TimeSpan s_similarWindow = TimeSpan.FromMinutes(10);
    private const int SpamBurst = 25;
    private static readonly TimeSpan s_spamRefill = TimeSpan.FromMinutes(5);
    private const int MaxKnown = 4096;

    private readonly RecentMap<Similar> _similar = new(MaxKnown);
    private readonly RecentMap<Written> _written = new(MaxKnown);
    private readonly RecentMap<Bucket> _spam = new(MaxKnown);

    /// <summary>Decides; an update finds name, namespace, first time and count of the written event in <paramref name="value"/>.</summary>
    /// <param name="value">The event; its message and count may change.</param>
    /// <param name="key">For <see cref="Wrote"/>.</param>
    internal EventFate Correlate(Corev1Event value, out string key)
    {
        var now = clock.GetUtcNow();
        key = Combine(value, now);
        var fate = EventFate.Create;
        if (_written.Find(key) is { } written)
        {
            value.Metadata.Name = written.Name;
            value.Metadata.NamespaceProperty = written.Namespace;
            value.FirstTimestamp = written.First;
            value.Count = written.Count + 1;
            fate = EventFate.Update;
        }
        // Counted even when it is cut: the next one that is let through tells how many there were.
        _written.Set(key, new Written(value.Metadata.NamespaceProperty, value.Metadata.Name, value.FirstTimestamp, value.Count ?? 1));
        return TakeToken(value, now) ? fate : EventFate.Drop;
    }

    /// <summary>The event was written anew: under this name it is counted up from now on.</summary>
    internal void Wrote(string key, Corev1Event value) => _written.Set(key, new Written(value.Metadata.NamespaceProperty, value.Metadata.Name, value.FirstTimestamp, value.Count ?? 1));

    // Answers the key under which the event is counted: its own, or that of all that are similar to it.
    private string Combine(Corev1Event value, DateTimeOffset now)
    {
        var about = value.InvolvedObject;
        var group = string.Join('\n', value.Source?.Component, value.Source?.Host, about.Kind, about.NamespaceProperty, about.Name, about.Uid, about.ApiVersion, value.Type, value.Reason,
            value.ReportingComponent, value.ReportingInstance);
        var similar = _similar.Find(group);
        if (similar is null || now - similar.At > s_similarWindow)
            _similar.Set(group, similar = new Similar());
        similar.At = now;
        similar.Messages.Add(value.Message ?? "");
        if (similar.Messages.Count < MaxSimilar)
            return string.Join('\n', group, about.FieldPath, value.Message);
        // One of them makes room, so that the set stays small while the flood lasts.
        similar.Messages.Remove(similar.Messages.First());
        value.Message = CombinedPrefix + value.Message;
        return group;
    }

    private bool TakeToken(Corev1Event value, DateTimeOffset now)
    {
        var about = value.InvolvedObject;
        var key = string.Join('\n', value.Source?.Component, value.Source?.Host, about.Kind, about.NamespaceProperty, about.Name, about.Uid, about.ApiVersion);
        var bucket = _spam.Find(key) ?? new Bucket(SpamBurst, now);
        var tokens = Math.Min(SpamBurst, bucket.Tokens + ((now - bucket.At) / s_spamRefill));
        var isAllowed = tokens >= 1;
        _spam.Set(key, new Bucket(isAllowed ? tokens - 1 : tokens, now));
        return isAllowed;
    }

    private sealed class Similar
    {
        internal HashSet<string> Messages { get; } = [];

        internal DateTimeOffset At { get; set; }
    }

    private sealed record Written(string Namespace, string Name, DateTime? First, int Count);

    private sealed record Bucket(double Tokens, DateTimeOffset At);
}
