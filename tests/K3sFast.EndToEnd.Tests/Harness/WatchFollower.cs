using System.Globalization;
using System.Text.Json.Nodes;

namespace K3sFast.EndToEnd.Tests;

/// <summary>One change that a watch told of.</summary>
internal sealed record WatchedChange(string Type, string Name, long Revision);

/// <summary>Who follows a collection by a watch and, when its server goes, on another one from the revision where it was.</summary>
internal sealed class WatchFollower(string path, long revision)
{
    private readonly List<WatchedChange> _changes = [];
    private readonly TaskCompletionSource _begun = new();
    private long _revision = revision;

    /// <summary>What was told so far; complete when <see cref="FollowAsync"/> has ended.</summary>
    internal IReadOnlyList<WatchedChange> Changes => _changes;

    /// <summary>The first server has answered.</summary>
    internal Task Begun => _begun.Task;

    /// <summary>Watches on the first of the servers, and on the next when one is lost, until an object of that name is told of.</summary>
    internal async Task FollowAsync(string lastName, params IEnumerable<DirectClient> servers)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(180));
        foreach (var server in servers)
        {
            try
            {
                if (await ReadAsync(server, lastName, patience.Token)) return;
            }
            catch (Exception lost) when (lost is HttpRequestException or IOException)
            {
                // The next one knows all that this one has told.
            }
        }
        Assert.Fail($"every server was lost before {lastName} was told of; the last that was: {_changes.LastOrDefault()}");
    }

    private async Task<bool> ReadAsync(DirectClient server, string lastName, CancellationToken cancellationToken)
    {
        var query = string.Create(CultureInfo.InvariantCulture, $"{path}{(path.Contains('?') ? '&' : '?')}watch=true&allowWatchBookmarks=true&resourceVersion={_revision}");
        using var response = await server.Http.GetAsync(query, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        Assert.True(response.IsSuccessStatusCode, $"{query}: {response.StatusCode}");
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(cancellationToken));
        _begun.TrySetResult();
        while (await reader.ReadLineAsync(cancellationToken) is { Length: > 0 } line)
        {
            var told = JsonNode.Parse(line)!;
            var (type, metadata) = ((string)told["type"]!, told["object"]!["metadata"]!);
            Assert.True(type != "ERROR", line);
            _revision = long.Parse((string)metadata["resourceVersion"]!, CultureInfo.InvariantCulture);
            if (type == "BOOKMARK") continue;
            _changes.Add(new WatchedChange(type, (string)metadata["name"]!, _revision));
            if (_changes[^1].Name == lastName) return true;
        }
        return false;
    }
}
