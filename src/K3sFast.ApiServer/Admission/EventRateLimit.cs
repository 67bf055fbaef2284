using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>EventRateLimit: token buckets for events, one for the server or one each per namespace, user, or source and object.</summary>
/// <remarks>Any thread.</remarks>
internal sealed class EventRateLimit : AdmissionPlugin
{
    // Upstream's size of each cache of buckets.
    private const int DefaultCacheSize = 4096;

    private readonly List<Limit> _limits = [];

    internal EventRateLimit(ApiNode configuration, TimeProvider clock)
    {
        var errors = new FieldErrorList();
        if (configuration.IsDefined)
            AdmissionConfiguration.CheckKind(configuration, "EventRateLimit", "Configuration", "eventratelimit.admission.k8s.io/v1alpha1");
        if (configuration["limits"u8].Count == 0)
            errors.AddRaw(FieldErrorType.Invalid, "limits", "null", "must not be empty");
        var index = 0;
        foreach (var limit in configuration["limits"u8].Elements)
        {
            var type = limit["type"u8].AsString();
            long burst = limit["burst"u8].AsInt64(), qps = limit["qps"u8].AsInt64(), size = limit["cacheSize"u8].AsInt64();
            if (type is not ("Server" or "Namespace" or "User" or "SourceAndObject"))
                errors.NotSupported($"limits[{index}].type", type, "Namespace", "Server", "SourceAndObject", "User");
            if (burst <= 0)
                errors.Invalid($"limits[{index}].burst", burst, "must be positive");
            if (qps <= 0)
                errors.Invalid($"limits[{index}].qps", qps, "must be positive");
            if (size < 0 && type != "Server")
                errors.Invalid($"limits[{index}].cacheSize", size, "must not be negative");
            _limits.Add(new Limit(type, qps, burst, size > 0 ? (int)Math.Min(size, int.MaxValue) : DefaultCacheSize, clock));
            index++;
        }
        if (errors.Count > 0)
            throw new ApiServerStartException($"EventRateLimit: {errors}");
    }

    internal override void Validate(AdmissionContext context)
    {
        if (context.Operation is not (AdmissionOperation.Create or AdmissionOperation.Update) || context.Resource.Kind != "Event" || context.IsDryRun)
            return;
        var reached = new List<string>();
        foreach (var limit in _limits)
        {
            var key = limit.KeyOf(context);
            if (!limit.TryTake(key))
                reached.Add($"limit reached on type {limit.Type} for key {key}");
        }
        if (reached.Count > 0)
            throw ApiStatus.TooManyRequests(reached.Count == 1 ? reached[0] : $"[{string.Join(", ", reached)}]", 0).ToException();
    }

    private sealed class Limit(string type, long perSecond, long burst, int capacity, TimeProvider clock)
    {
        private readonly Lock _gate = new();

        // Guarded by _gate. The list is in order of use, so that the bucket that was idle longest makes room.
        private readonly Dictionary<string, LinkedListNode<Bucket>> _buckets = new(StringComparer.Ordinal);
        private readonly LinkedList<Bucket> _order = new();

        internal string Type => type;

        internal string KeyOf(AdmissionContext context)
        {
            switch (type)
            {
                case "Namespace": return context.Namespace;
                case "User": return context.User.Name;
                case "Server": return "";
            }
            ApiNode source = context.Object["source"u8], about = context.Object["involvedObject"u8];
            return string.Concat(
                [
                    source["component"u8].AsString(), source["host"u8].AsString(), about["kind"u8].AsString(), about["namespace"u8].AsString(),
                    about["name"u8].AsString(), about["uid"u8].AsString(), about["apiVersion"u8].AsString(),
                ]);
        }

        internal bool TryTake(string key)
        {
            lock (_gate)
            {
                var now = clock.GetTimestamp();
                if (!_buckets.TryGetValue(key, out var node))
                {
                    if (_buckets.Count >= capacity)
                    {
                        _buckets.Remove(_order.First!.Value.Key);
                        _order.RemoveFirst();
                    }
                    node = new LinkedListNode<Bucket>(new Bucket { Key = key, Tokens = burst, At = now });
                    _buckets[key] = node;
                }
                else
                {
                    _order.Remove(node);
                }
                _order.AddLast(node);
                var bucket = node.Value;
                bucket.Tokens = Math.Min(burst, bucket.Tokens + clock.GetElapsedTime(bucket.At, now).TotalSeconds * perSecond);
                bucket.At = now;
                if (bucket.Tokens < 1)
                    return false;
                bucket.Tokens--;
                return true;
            }
        }
    }

    private sealed class Bucket
    {
        internal required string Key { get; init; }

        internal double Tokens { get; set; }

        internal long At { get; set; }
    }
}
