using System.Text;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.WatchCache.Tests;

/// <summary>A cacher over a real store in a directory of its own, and short words for what tests do with it.</summary>
internal sealed class CacheHost : IAsyncDisposable
{
    private readonly string _directory;
    private readonly CacherOptions _options;
    private readonly Action<Cacher>? _register;

    private CacheHost(CacherOptions? options, Action<Cacher>? register)
    {
        _directory = $"/dev/shm/store-cache-{Guid.NewGuid():N}";
        _options = options ?? new CacherOptions();
        _register = register;
    }

    public SqliteDatastore Store { get; private set; } = null!;

    public Cacher Cacher { get; private set; } = null!;

    public WatchCache Pods { get; private set; } = null!;

    public static async Task<CacheHost> StartAsync(CacherOptions? options = null, Action<Cacher>? register = null)
    {
        var host = new CacheHost(options, register);
        await host.OpenAsync();
        return host;
    }

    public async Task RestartAsync()
    {
        await CloseAsync();
        await OpenAsync();
    }

    public async Task<long> Create(string key, string json)
    {
        using var written = (await Cacher.WriteAsync(AppendRequest.Create(key, Encoding.UTF8.GetBytes(json)))).Object!;
        return written.Revision;
    }

    public Task<long> CreatePod(string name, string labels = """{"app":"web"}""", string ns = "default") => Create(PodKey(name, ns), PodJson(name, labels, ns));

    public Task<long> CreatePodOn(string node, string name) => Create(PodKey(name), PodJson(name, node: node));

    public async Task<long> UpdatePod(string name, long revision, string labels, string ns = "default", string node = "n1")
    {
        var result = await Cacher.WriteAsync(AppendRequest.Update(PodKey(name, ns), revision, Encoding.UTF8.GetBytes(PodJson(name, labels, ns, node))));
        using var written = result.Object!;
        Assert.Equal(AppendOutcome.Committed, result.Outcome);
        return result.Revision;
    }

    public async Task<long> DeletePod(string name, long revision, string ns = "default")
    {
        var result = await Cacher.WriteAsync(AppendRequest.Delete(PodKey(name, ns), revision));
        using var written = result.Object!;
        Assert.Equal(AppendOutcome.Committed, result.Outcome);
        return result.Revision;
    }

    public static string PodKey(string name, string ns = "default") => $"/registry/pods/{ns}/{name}";

    public static string PodJson(string name, string labels = """{"app":"web"}""", string ns = "default", string node = "n1") =>
        $$$"""{"kind":"Pod","apiVersion":"v1","metadata":{"name":"{{{name}}}","namespace":"{{{ns}}}","uid":"u-{{{name}}}","creationTimestamp":"2026-01-01T00:00:00Z","labels":{{{labels}}}},"spec":{"nodeName":"{{{node}}}","hostNetwork":true},"status":{"phase":"Running"}}""";

    public async ValueTask DisposeAsync()
    {
        await CloseAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private async Task OpenAsync()
    {
        Store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/state.db" });
        Cacher = new Cacher(Store, _options);
        Pods = Cacher.Register("/registry/pods/", ["metadata.name", "spec.nodeName", "status.phase", "spec.hostNetwork", "status.podIP"],
            new ResourceIndexes(["spec.nodeName"], ["app"]));
        _register?.Invoke(Cacher);
        await Cacher.StartAsync(CancellationToken.None);
    }

    private async Task CloseAsync()
    {
        await Cacher.DisposeAsync();
        await Store.DisposeAsync();
    }
}

internal static class Words
{
    public static string Text(this ReadOnlySpan<byte> utf8) => Encoding.UTF8.GetString(utf8);

    public static string Text(this StoredBytes bytes) => Encoding.UTF8.GetString(bytes.ToArray());

    /// <summary>Name of each object of a snapshot, in order.</summary>
    public static string[] Names(this Snapshot snapshot)
    {
        var names = new List<string>();
        foreach (var item in snapshot) names.Add(item.NameUtf8.Text());
        return [.. names];
    }

    /// <summary>Reads everything that is there, as <c>TYPE name@revision</c>.</summary>
    public static List<string> ReadAll(this WatchCursor cursor)
    {
        var all = new List<string>();
        var events = new WatchEvent[7];
        while (true)
        {
            int count = cursor.Read(events);
            if (count < 0) all.Add("EXPIRED");
            if (count <= 0) return all;
            foreach (ref readonly var item in events.AsSpan(0, count)) all.Add($"{item.Type} {item.Object.NameUtf8.Text()}@{item.Revision}");
        }
    }
}
