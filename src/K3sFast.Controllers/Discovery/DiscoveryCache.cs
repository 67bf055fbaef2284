using System.Text.Json;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// What resources there are. Asked once and kept until a custom resource definition or an aggregated API changes: discovery is not polled.
/// </summary>
internal sealed class DiscoveryCache
{
    // An aggregated server may change what it serves without an object of ours changing.
    private static readonly TimeSpan s_maxAge = TimeSpan.FromMinutes(10);

    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _asking = new(1);

    // Written under _asking, read by anybody
    private volatile Entry? _entry;

    internal DiscoveryCache(ControllerContext context)
    {
        _time = context.Time;
        Watch(context, "apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition");
        Watch(context, "apiregistration.k8s.io", "apiservices", "APIService");
    }

    /// <summary>Something was added, changed or taken away. Called under an informer's lock.</summary>
    internal event Action? Changed;

    /// <summary>The resources now; asks as <paramref name="client"/> when nothing fresh is kept.</summary>
    internal async ValueTask<DiscoveryResult> GetAsync(ApiClient client, CancellationToken cancellationToken)
    {
        if (Fresh() is { } kept) return kept;
        await _asking.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (Fresh() is { } other) return other;
            var entry = new Entry { At = _time.GetTimestamp() };
            _entry = entry;
            entry.Result = await AskAsync(client, cancellationToken).ConfigureAwait(false);
            // A group that failed is asked for again next time.
            if (entry.Result.Failures.Count > 0) entry.IsStale = true;
            return entry.Result;
        }
        finally
        {
            _asking.Release();
        }
    }

    private DiscoveryResult? Fresh()
    {
        var entry = _entry;
        return entry is { IsStale: false, Result: { } result } && _time.GetElapsedTime(entry.At) < s_maxAge ? result : null;
    }

    private void Watch(ControllerContext context, string group, string plural, string kind)
    {
        var informer = context.Informers.Get(Resources.Partial(group, "v1", plural, kind, false));
        informer.AddHandler(_ =>
        {
            if (_entry is { } entry) entry.IsStale = true;
            Changed?.Invoke();
        });
    }

    private static async Task<DiscoveryResult> AskAsync(ApiClient client, CancellationToken cancellationToken)
    {
        var found = new List<DiscoveredResource>();
        var failures = new Dictionary<string, string>();
        await AskVersionAsync(client, "", "v1", found, failures, new HashSet<(string, string)>(), cancellationToken).ConfigureAwait(false);
        var answer = await client.Transport.SendAsync(new ApiRequest("GET", "/apis"), cancellationToken).ConfigureAwait(false);
        if (!answer.IsSuccess) throw ApiException.From(answer);
        var groups = JsonSerializer.Deserialize(answer.Body.Span, ModelJson.TypeInfo<V1APIGroupList>())!;
        foreach (var group in groups.Groups ?? [])
        {
            var seen = new HashSet<(string, string)>();
            // A resource counts in the group's preferred version, or in the first other one that has it.
            var versions = group.Versions.OrderByDescending(version => version.Version == group.PreferredVersion?.Version).ToList();
            foreach (var version in versions)
            {
                await AskVersionAsync(client, group.Name, version.Version, found, failures, seen, cancellationToken).ConfigureAwait(false);
            }
        }
        return new DiscoveryResult(found, failures);
    }

    private static async Task AskVersionAsync(
        ApiClient client,
        string group,
        string version,
        List<DiscoveredResource> found,
        Dictionary<string, string> failures,
        HashSet<(string, string)> seen,
        CancellationToken cancellationToken)
    {
        var path = group.Length == 0 ? $"/api/{version}" : $"/apis/{group}/{version}";
        var answer = await client.Transport.SendAsync(new ApiRequest("GET", path), cancellationToken).ConfigureAwait(false);
        if (!answer.IsSuccess)
        {
            // Gone between the two questions: not a failure.
            if (answer.StatusCode != 404) failures[path[(path.IndexOf('/', 1) + 1)..]] = ApiException.From(answer).Message;
            return;
        }
        var list = JsonSerializer.Deserialize(answer.Body.Span, ModelJson.TypeInfo<V1APIResourceList>())!;
        foreach (var resource in list.Resources ?? [])
        {
            if (resource.Name.Contains('/') || !seen.Add((group, resource.Name))) continue;
            found.Add(new DiscoveredResource(group, version, resource.Name, resource.Kind, resource.Namespaced, resource.Verbs?.ToHashSet() ?? []));
        }
    }

    private sealed class Entry
    {
        internal long At { get; init; }

        internal volatile bool IsStale;

        internal DiscoveryResult? Result { get; set; }
    }
}
