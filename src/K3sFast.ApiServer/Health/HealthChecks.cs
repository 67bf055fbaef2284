using System.Text;
using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>Which of the three pages a check stands on.</summary>
[Flags]
internal enum HealthPages : byte
{
    Live = 1,
    Ready = 2,
    Health = 4,
    All = Live | Ready | Health,
}

/// <summary>/livez, /readyz and /healthz with their named checks, in upstream's words.</summary>
/// <remarks>Checks are added before the server listens.</remarks>
internal sealed class HealthChecks
{
    private readonly List<NamedCheck> _checks = [];
    private readonly MetricFamily<Gauge> _states;
    private readonly MetricFamily<Counter> _counts;

    internal HealthChecks()
    {
        _states = Metrics.Gauges("kubernetes_healthcheck", "[STABLE] This metric records the result of a single healthcheck.", "name", "type");
        _counts = Metrics.Counters("kubernetes_healthchecks_total", "[STABLE] This metric records the results of all healthcheck.", "name", "type", "status");
    }

    /// <summary>What the checks said whenever they were asked: /metrics/slis.</summary>
    internal MetricRegistry Metrics { get; } = new();

    /// <summary>The paths of all pages and checks.</summary>
    internal IEnumerable<string> Paths => Enum.GetValues<HealthPages>().Where(static page => page != HealthPages.All)
        .SelectMany(page => _checks.Where(check => check.Pages.HasFlag(page)).Select(check => $"/{NameOf(page)}/{check.Name}").Prepend($"/{NameOf(page)}"));

    /// <summary>Adds a check; it answers null when all is well, else why not.</summary>
    internal void Add(string name, Func<CancellationToken, ValueTask<string?>> check, HealthPages pages = HealthPages.All) => _checks.Add(new NamedCheck(name, check, pages));

    /// <summary>Adds a check that does not wait for anything.</summary>
    internal void Add(string name, Func<string?> check, HealthPages pages = HealthPages.All) => Add(name, _ => ValueTask.FromResult(check()), pages);

    /// <summary>Adds a step of starting that is well once it is done.</summary>
    internal StartHook AddStartHook(string name)
    {
        var hook = new StartHook();
        Add($"poststarthook/{name}", () => hook.IsDone ? null : "not finished");
        return hook;
    }

    internal bool Owns(string path) => TrySplit(path, out _, out _);

    internal ValueTask AnswerAsync(ApiCall call, string path)
    {
        TrySplit(path, out var page, out var single);
        return path.Length == NameOf(page).Length + 1 ? AnswerAllAsync(call, page) : AnswerOneAsync(call, page, single);
    }

    private async ValueTask<string?> RunAsync(NamedCheck check, HealthPages page, CancellationToken cancel)
    {
        var why = await check.Check(cancel).ConfigureAwait(false);
        _states.With(check.Name, NameOf(page)).Set(why is null ? 1 : 0);
        _counts.With(check.Name, NameOf(page), why is null ? "success" : "error").Add();
        return why;
    }

    private async ValueTask AnswerAllAsync(ApiCall call, HealthPages page)
    {
        var excluded = QueryReader.GetAll(call.Info.Query, "exclude"u8).Where(static name => name.Length > 0).ToHashSet();
        var isVerbose = call.Info.TryGetQuery("verbose"u8, out _);
        var lines = new StringBuilder();
        var hasFailed = false;
        foreach (var check in _checks)
        {
            if (!check.Pages.HasFlag(page))
                continue;
            if (excluded.Remove(check.Name))
            {
                lines.Append($"[+]{check.Name} excluded: ok\n");
                continue;
            }
            var isWell = await RunAsync(check, page, call.Aborted).ConfigureAwait(false) is null;
            hasFailed |= !isWell;
            lines.Append(isWell ? $"[+]{check.Name} ok\n" : $"[-]{check.Name} failed: reason withheld\n");
        }
        if (excluded.Count > 0)
            lines.Append($"warn: some health checks cannot be excluded: no matches for {string.Join(',', excluded.Order(StringComparer.Ordinal).Select(static name => ApiMachinery.GoText.Quote(name)))}\n");
        if (!hasFailed && !isVerbose)
        {
            await ResponseWriter.WriteTextAsync(call, 200, "ok").ConfigureAwait(false);
            return;
        }
        call.SetHeader("X-Content-Type-Options", "nosniff");
        await ResponseWriter.WriteTextAsync(call, hasFailed ? 500 : 200, $"{lines}{NameOf(page)} check {(hasFailed ? "failed" : "passed")}\n").ConfigureAwait(false);
    }

    private async ValueTask AnswerOneAsync(ApiCall call, HealthPages page, string single)
    {
        var check = _checks.Find(check => check.Name == single && check.Pages.HasFlag(page));
        var why = check is null ? null : await RunAsync(check, page, call.Aborted).ConfigureAwait(false);
        if (check is not null && why is null)
        {
            await ResponseWriter.WriteTextAsync(call, 200, "ok").ConfigureAwait(false);
            return;
        }
        call.SetHeader("X-Content-Type-Options", "nosniff");
        if (check is null)
            await ResponseWriter.WriteTextAsync(call, 404, "404 page not found\n").ConfigureAwait(false);
        else
            await ResponseWriter.WriteTextAsync(call, 500, $"internal server error: {why}\n").ConfigureAwait(false);
    }

    private static bool TrySplit(string path, out HealthPages page, out string single)
    {
        single = "";
        foreach (var candidate in (ReadOnlySpan<HealthPages>)[HealthPages.Live, HealthPages.Ready, HealthPages.Health])
        {
            page = candidate;
            var name = NameOf(candidate);
            if (!path.AsSpan(1).StartsWith(name) || path.Length > name.Length + 1 && path[name.Length + 1] != '/')
                continue;
            single = path.Length > name.Length + 2 ? path[(name.Length + 2)..] : "";
            return true;
        }
        page = default;
        return false;
    }

    private static string NameOf(HealthPages page) => page switch { HealthPages.Live => "livez", HealthPages.Ready => "readyz", _ => "healthz" };

    private sealed record NamedCheck(string Name, Func<CancellationToken, ValueTask<string?>> Check, HealthPages Pages);
}

/// <summary>A step of starting.</summary>
internal sealed class StartHook
{
    private bool _isDone;

    internal bool IsDone => Volatile.Read(ref _isDone);

    internal void Done() => Volatile.Write(ref _isDone, true);
}
