using System.Diagnostics;
using K3sFast.ApiMachinery;
using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>What the store and the watches of each resource do. The names say etcd where upstream has etcd.</summary>
internal sealed class StorageMetrics
{
    private static readonly double[] s_latencies = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60];

    private static readonly double[] s_listings = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60];

    private readonly MetricFamily<Histogram> _durations, _eventSizes, _watchLists;
    private readonly MetricFamily<Counter> _requests, _errors, _events, _lists;
    private readonly MetricRegistry _registry;

    internal StorageMetrics(MetricRegistry registry)
    {
        _registry = registry;
        _durations = registry.Histograms("etcd_request_duration_seconds", "[ALPHA] Etcd request latency in seconds for each operation and object type.", s_latencies, "operation", "group", "resource");
        _requests = registry.Counters("etcd_requests_total", "[ALPHA] Etcd request counts for each operation and object type.", "operation", "group", "resource");
        _errors = registry.Counters("etcd_request_errors_total", "[ALPHA] Etcd failed request counts for each operation and object type.", "operation", "group", "resource");
        _events = registry.Counters("apiserver_watch_events_total", "[ALPHA] Number of events sent in watch clients", "group", "version", "resource");
        _eventSizes = registry.Histograms("apiserver_watch_events_sizes", "[ALPHA] Watch event size distribution in bytes", Histogram.Exponential(1024, 2, 8), "group", "version", "resource");
        _watchLists = registry.Histograms(
            "apiserver_watch_list_duration_seconds", "[BETA] Response latency distribution in seconds for watch list requests broken by group, version, resource and scope.",
            s_listings, "group", "version", "resource", "scope");
        _lists = registry.Counters("apiserver_cache_list_total", "[ALPHA] Number of LIST requests served from watch cache", "group", "index", "resource");
    }

    /// <summary>The instruments of one resource's writes.</summary>
    internal StoreSeries Store(ResourceInfo resource) => new(
        Operation("create", resource), Operation("update", resource), Operation("delete", resource));

    /// <summary>The instruments of the watches of one resource in one version.</summary>
    internal WatchSeries Watch(ResourceInfo resource) => new(
        () => (_events.With(resource.Group, resource.Version, resource.Resource), _eventSizes.With(resource.Group, resource.Version, resource.Resource)),
        scope => _watchLists.With(resource.Group, resource.Version, resource.Resource, scope));

    /// <summary>The instruments of the lists of one resource, whichever its version.</summary>
    internal ListSeries List(ResourceInfo resource) => new(() => _lists.With(resource.Group, "", resource.Resource));

    /// <summary>Registers what is looked up in the caches when metrics are printed.</summary>
    internal void Follow(ResourceCatalog catalog, Func<long> sizeBytes)
    {
        var storages = catalog.Storages.OrderBy(static storage => storage.Info.GroupResource, StringComparer.Ordinal).ToList();
        _registry.Collected(
            "apiserver_storage_objects", "gauge",
            "[STABLE] (Deprecated since 1.34.0) [DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.",
            text =>
            {
                foreach (var storage in storages)
                    text.Sample("apiserver_storage_objects", $"resource=\"{storage.Info.GroupResource}\"", storage.Cache.Count);
            });
        _registry.Collected(
            "apiserver_resource_objects", "gauge", "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.",
            text =>
            {
                foreach (var storage in storages)
                    text.Sample("apiserver_resource_objects", Labels(storage.Info), storage.Cache.Count);
            });
        _registry.Collected(
            "apiserver_watch_cache_resource_version", "gauge", "[ALPHA] Current resource version of watch cache broken by resource type. This is truncated to the 15 least significant digits.",
            text =>
            {
                foreach (var storage in storages)
                    text.Sample("apiserver_watch_cache_resource_version", Labels(storage.Info), storage.CurrentRevision % 1_000_000_000_000_000);
            });
        Events(storages, "apiserver_storage_events_received_total", "[BETA] Number of etcd events received split by kind.");
        Events(storages, "apiserver_watch_cache_events_received_total", "[ALPHA] Counter of events received in watch cache broken by resource type.");
        Events(storages, "apiserver_watch_cache_events_dispatched_total", "[ALPHA] Counter of events dispatched in watch cache broken by resource type.");
        _registry.Collected("apiserver_storage_size_bytes", "gauge", "[STABLE] Size of the storage database file physically allocated in bytes.", text =>
        {
            if (sizeBytes() is var bytes and >= 0)
                text.Sample("apiserver_storage_size_bytes", "storage_cluster_id=\"etcd-0\"", bytes);
        });
    }

    // What the store tells goes into the cache and to the watches at once, so that these are three names of one number.
    private void Events(List<ResourceStorage> storages, string name, string help) => _registry.Collected(name, "counter", help, text =>
    {
        foreach (var storage in storages)
        {
            if (storage.Cache.AppliedEvents is var count and > 0)
                text.Sample(name, Labels(storage.Info), count);
        }
    });

    private static string Labels(ResourceInfo resource) => $"group=\"{resource.Group}\",resource=\"{resource.Resource}\"";

    private StoreOperation Operation(string name, ResourceInfo resource) => new(
        () => (_durations.With(name, resource.Group, resource.Resource), _requests.With(name, resource.Group, resource.Resource)), () => _errors.With(name, resource.Group, resource.Resource));
}

/// <summary>One operation on the store. The instruments are made at the first one, so that what never happens is not printed.</summary>
internal sealed class StoreOperation(Func<(Histogram Durations, Counter Requests)> make, Func<Counter> makeErrors)
{
    private Histogram? _durations;
    private Counter? _requests;

    internal void Done(long started, bool hasFailed)
    {
        if (_requests is null || _durations is null)
            (_durations, _requests) = make();
        _requests.Add();
        _durations.Observe(Stopwatch.GetElapsedTime(started).TotalSeconds);
        if (hasFailed)
            makeErrors().Add();
    }
}

/// <summary>The writes of one resource.</summary>
internal sealed record StoreSeries(StoreOperation Create, StoreOperation Update, StoreOperation Delete);

/// <summary>The events that watchers of one resource were sent.</summary>
internal sealed class WatchSeries(Func<(Counter Events, Histogram Sizes)> make, Func<string, Histogram> makeListings)
{
    /// <summary>The state that a watch began with was sent, since the request came.</summary>
    internal void Listed(string scope, long started) => makeListings(scope).Observe(Stopwatch.GetElapsedTime(started).TotalSeconds);

    private Counter? _events;
    private Histogram? _sizes;

    internal void Sent(int bytes)
    {
        if (_events is null || _sizes is null)
            (_events, _sizes) = make();
        _events.Add();
        _sizes.Observe(bytes);
    }
}

/// <summary>The lists of one resource.</summary>
internal sealed class ListSeries(Func<Counter> make)
{
    private Counter? _lists;

    internal void Served() => (_lists ??= make()).Add();
}
