using K3sFast.ApiMachinery;
using K3sFast.WatchCache;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Keeps <see cref="Current"/> equal to the stored flow schemas and priority levels, tells each schema whether its level exists, and lets levels lend
/// and borrow seats by their demand. What every cluster is born with is <see cref="FlowControlBootstrap"/>'s.
/// </summary>
internal sealed class FlowController
{
    private const string Group = "flowcontrol.apiserver.k8s.io";

    // Upstream's bound on status writes: more within a minute is somebody else fighting for the same condition.
    private const int MaxStatusWritesPerMinute = 6;

    private const int BatchEvents = 64;

    private readonly ResourceStorage _schemas;
    private readonly ResourceStorage _levels;
    private readonly WriteFlow _writes;
    private readonly FlowMetrics _metrics;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly SeatBudget _budget;
    private readonly SemaphoreSlim _gate = new(1, 1);

    // Guarded by _gate
    private readonly Dictionary<string, (DateTimeOffset Since, int Count)> _statusWrites = [];

    private FlowConfiguration _current;

    internal FlowController(ResourceCatalog catalog, WriteFlow writes, int seats, ApiServerMetrics metrics, TimeProvider clock, ILogger logger)
    {
        _schemas = catalog.Storage(Group, FlowControlDefaults.Schemas);
        _levels = catalog.Storage(Group, FlowControlDefaults.Levels);
        _writes = writes;
        _clock = clock;
        _logger = logger;
        _metrics = metrics.Flows;
        _budget = new SeatBudget(seats, _metrics.Kinds);
        FlowMetrics.Follow(metrics.Registry, _budget);
        _current = Digest();
    }

    internal FlowConfiguration Current => Volatile.Read(ref _current);

    /// <summary>Reads what is stored and writes the schemas' conditions.</summary>
    internal async Task SyncAsync(CancellationToken cancel)
    {
        await _gate.WaitAsync(cancel).ConfigureAwait(false);
        try
        {
            Volatile.Write(ref _current, Digest());
            await WriteConditionsAsync(cancel).ConfigureAwait(false);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Applies changes as they are committed, and shares seats out every ten seconds, until cancelled.</summary>
    internal Task[] Follow(CancellationToken cancel) => [FollowAsync(_schemas, cancel), FollowAsync(_levels, cancel), BorrowAsync(cancel)];

    private async Task FollowAsync(ResourceStorage storage, CancellationToken cancel)
    {
        var events = new WatchEvent[BatchEvents];
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                using var cursor = storage.Cache.OpenCursorAtEnd();
                await SyncAsync(cancel).ConfigureAwait(false);
                while (true)
                {
                    var count = cursor.Read(events);
                    if (count < 0)
                        break;
                    if (count > 0)
                        await SyncAsync(cancel).ConfigureAwait(false);
                    else
                        await cursor.WaitAsync(cancel).ConfigureAwait(false);
                }
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested)
            {
                return;
            }
            catch (Exception error)
            {
                Log.BackgroundFailed(_logger, $"following {storage.Info.GroupResource}", error.Message);
                await Task.Delay(TimeSpan.FromSeconds(1), CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    private async Task BorrowAsync(CancellationToken cancel)
    {
        using var timer = new PeriodicTimer(SeatBudget.Period, _clock);
        try
        {
            while (await timer.WaitForNextTickAsync(cancel).ConfigureAwait(false))
                _budget.Adjust();
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            // The server stops.
        }
    }

    // Levels keep their queues across digests; a level that is gone drains by itself.
    private FlowConfiguration Digest()
    {
        var levels = new Dictionary<string, PriorityLevel>(StringComparer.Ordinal);
        foreach (var stored in _levels.All(null))
        {
            using var document = _levels.Decode(stored);
            if (_budget.Configure(document.Root, stored.Name(), _clock) is { } level)
                levels.Add(level.Name, level);
        }
        foreach (var mandatory in FlowControlDefaults.All)
        {
            if (mandatory is { IsMandatory: true, Resource: FlowControlDefaults.Levels } && !levels.ContainsKey(mandatory.Name))
                levels.Add(mandatory.Name, Imagine(mandatory, node => _budget.Configure(node, mandatory.Name, _clock)!));
        }
        _budget.Distribute(levels.Keys);

        var schemas = new List<FlowSchemaMatcher>();
        foreach (var stored in _schemas.All(null))
        {
            using var document = _schemas.Decode(stored);
            if (levels.TryGetValue(document.Root["spec"u8]["priorityLevelConfiguration"u8]["name"u8].AsString(), out var level))
                schemas.Add(Matcher(document.Root, level));
        }
        schemas.Sort(static (left, right) =>
            left.Precedence != right.Precedence ? left.Precedence.CompareTo(right.Precedence) : string.CompareOrdinal(left.Name, right.Name));
        foreach (var mandatory in FlowControlDefaults.All)
        {
            if (mandatory is not { IsMandatory: true, Resource: FlowControlDefaults.Schemas } || schemas.Exists(schema => schema.Name == mandatory.Name))
                continue;
            var imagined = Imagine(mandatory, node => Matcher(node, levels[mandatory.Name]));
            schemas.Insert(mandatory.Name == FlowControlDefaults.Exempt ? 0 : schemas.Count, imagined);
        }
        return new FlowConfiguration([.. schemas], schemas.Find(static schema => schema.Name == FlowControlDefaults.CatchAll)!, levels);
    }

    private FlowSchemaMatcher Matcher(ApiNode schema, PriorityLevel level) =>
        new(schema, level) { Measured = _metrics.Of(level.Name, schema["metadata"u8]["name"u8].AsString()) };

    // A mandatory object that somebody has deleted a moment ago still rules.
    private static T Imagine<T>(FlowControlDefault wanted, Func<ApiNode, T> make)
    {
        using var document = new ApiObject();
        document.Root.GetOrAddObject("metadata"u8).Set("name"u8, wanted.Name);
        using var spec = wanted.DecodeSpec();
        document.Root.Set("spec"u8, spec.Root);
        return make(document.Root);
    }

    private async Task WriteConditionsAsync(CancellationToken cancel)
    {
        var wanted = new List<(string Name, string Level, bool Exists)>();
        foreach (var stored in _schemas.All(null))
        {
            using var document = _schemas.Decode(stored);
            var level = document.Root["spec"u8]["priorityLevelConfiguration"u8]["name"u8].AsString();
            var exists = _current.Levels.ContainsKey(level);
            if (!HasCondition(document.Root, level, exists) && MayWriteStatus(stored.Name()))
                wanted.Add((stored.Name(), level, exists));
        }
        await Task.WhenAll(wanted.Select(condition => WriteConditionAsync(condition.Name, condition.Level, condition.Exists, cancel))).ConfigureAwait(false);
    }

    private async Task WriteConditionAsync(string name, string level, bool exists, CancellationToken cancel)
    {
        try
        {
            using var answer = await _writes.UpdateAsync(_schemas, "status", new WriteContext(UserInfo.ApiServer, "", name, false, cancel), old =>
            {
                var changed = old.Clone();
                SetCondition(changed.Root, level, exists, ObjectText.Time(_clock.GetUtcNow()));
                return changed;
            }, isPatch: true).ConfigureAwait(false);
        }
        catch (ApiStatusException refused) when (refused.Status.Code is 404 or 409)
        {
            // Gone or changed meanwhile: the change's own event comes.
        }
    }

    private bool MayWriteStatus(string name)
    {
        var now = _clock.GetUtcNow();
        var (since, count) = _statusWrites.GetValueOrDefault(name);
        if (now - since > TimeSpan.FromMinutes(1))
            (since, count) = (now, 0);
        _statusWrites[name] = (since, count + 1);
        return count < MaxStatusWritesPerMinute;
    }

    private static bool HasCondition(ApiNode schema, string level, bool exists)
    {
        foreach (var condition in schema["status"u8]["conditions"u8].Elements)
        {
            if (condition["type"u8].Equals("Dangling"u8))
            {
                return condition["status"u8].AsString() == (exists ? "False" : "True") && condition["reason"u8].AsString() == Reason(exists)
                    && condition["message"u8].AsString() == Message(level, exists);
            }
        }
        return false;
    }

    private static void SetCondition(ApiNode schema, string level, bool exists, string now)
    {
        var conditions = schema.GetOrAddObject("status"u8).GetOrAddArray("conditions"u8);
        ApiNode dangling = default;
        foreach (var condition in conditions.Elements)
        {
            if (condition["type"u8].Equals("Dangling"u8))
                dangling = condition;
        }
        if (!dangling.IsDefined)
            dangling = conditions.AppendObject();
        dangling.Set("type"u8, "Dangling"u8);
        dangling.Set("status"u8, exists ? "False"u8 : "True"u8);
        dangling.Set("lastTransitionTime"u8, now);
        dangling.Set("reason"u8, Reason(exists));
        dangling.Set("message"u8, Message(level, exists));
    }

    private static string Reason(bool exists) => exists ? "Found" : "NotFound";

    private static string Message(string level, bool exists) =>
        $"This FlowSchema references the PriorityLevelConfiguration object named {GoText.Quote(level)} {(exists ? "and it exists" : "but there is no such object")}";
}
