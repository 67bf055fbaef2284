using K3sFast.Client;

namespace K3sFast.Controllers;

/// <summary>Feeds one resource into the graph by list and watch, keeping nothing itself.</summary>
internal sealed class GraphMonitor(ApiClient client, DiscoveredResource resource, OwnerGraph graph, TimeProvider time)
{
    private static readonly TimeSpan s_firstBackoff = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan s_lastBackoff = TimeSpan.FromSeconds(30);

    private readonly TaskCompletionSource _synced = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _stop = new();
    private bool _hasListed;

    internal Task Synced => _synced.Task;

    internal Task Running { get; private set; } = Task.CompletedTask;

    internal void Start(CancellationToken cancellationToken) => Running = RunAsync(cancellationToken);

    /// <summary>Ends the watch; the resource is no longer served and its objects are gone with it.</summary>
    internal void Stop()
    {
        _stop.Cancel();
        foreach (var uid in graph.UidsOf(resource)) graph.Remove(uid);
    }

    private async Task RunAsync(CancellationToken cancellationToken)
    {
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _stop.Token);
        var backoff = s_firstBackoff;
        var version = "";
        while (!both.IsCancellationRequested)
        {
            try
            {
                if (version.Length == 0) version = await ListAsync(both.Token).ConfigureAwait(false);
                var started = time.GetTimestamp();
                await foreach (var frame in client.Transport.WatchAsync(
                    $"{resource.Path()}?watch=true&allowWatchBookmarks=true&resourceVersion={version}", both.Token).ConfigureAwait(false))
                {
                    var value = frame.Object.Decode(GraphJsonContext.Default.GraphObject).Metadata;
                    if (frame.Type == WatchFrameType.Deleted) graph.Remove(value.Uid);
                    else if (frame.Type != WatchFrameType.Bookmark) graph.Set(resource, value);
                    version = value.ResourceVersion;
                }
                // A server that ends every watch at once must not be asked in a tight loop.
                if (time.GetElapsedTime(started) > s_firstBackoff)
                {
                    backoff = s_firstBackoff;
                    continue;
                }
            }
            catch (OperationCanceledException) when (both.IsCancellationRequested)
            {
                break;
            }
            catch (ApiException gone) when (gone.IsGone)
            {
                version = "";
            }
            catch (Exception failure) when (failure is ApiException or HttpRequestException or IOException or OperationCanceledException or System.Text.Json.JsonException)
            {
                // Not served just now, or the way there is broken: listed anew, and not too often.
                version = "";
            }
            try
            {
                await Task.Delay(backoff, time, both.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                break;
            }
            backoff = backoff * 2 < s_lastBackoff ? backoff * 2 : s_lastBackoff;
        }
    }

    private async Task<string> ListAsync(CancellationToken cancellationToken)
    {
        var list = await client.Transport.ListAsync(resource.Path(), cancellationToken).ConfigureAwait(false);
        // Before the first list the graph has nothing of this resource that could be gone.
        var seen = _hasListed ? new HashSet<string>(list.Items.Count) : null;
        _hasListed = true;
        foreach (var item in list.Items)
        {
            var value = item.DecodeAlone(GraphJsonContext.Default.GraphObject).Metadata;
            seen?.Add(value.Uid);
            graph.Set(resource, value);
        }
        if (seen is not null)
        {
            foreach (var uid in graph.UidsOf(resource))
            {
                if (!seen.Contains(uid)) graph.Remove(uid);
            }
        }
        _synced.TrySetResult();
        return list.ResourceVersion;
    }
}
