using System.Text;

namespace K3sFast.ApiServer;

/// <summary>/livez, /readyz and /healthz with their named checks, in upstream's words.</summary>
internal sealed class HealthChecks
{
    private readonly List<(string Name, Func<string?> Check, bool IsReadinessOnly)> _checks = [];

    /// <summary>Adds a check; it answers null when all is well, else why not.</summary>
    internal void Add(string name, Func<string?> check, bool isReadinessOnly = false) => _checks.Add((name, check, isReadinessOnly));

    internal bool Owns(string path) => Split(path, out _, out _);

    internal ValueTask AnswerAsync(ApiCall call, string path)
    {
        if (call.Info.Verb is not (Verb.Get or Verb.Head))
            throw ResourceRouter.MethodNotAllowed();
        Split(path, out var kind, out var single);
        if (single.Length > 0)
            return AnswerOneAsync(call, kind, single);
        var excluded = QueryReader.GetAll(call.Info.Query, "exclude"u8);
        var lines = new StringBuilder();
        var failed = new StringBuilder();
        foreach (var (name, check, isReadinessOnly) in _checks)
        {
            if (isReadinessOnly && kind != "readyz")
                continue;
            if (excluded.Contains(name))
            {
                lines.Append($"[+]{name} excluded: ok\n");
                continue;
            }
            if (check() is null)
            {
                lines.Append($"[+]{name} ok\n");
                continue;
            }
            lines.Append($"[-]{name} failed: reason withheld\n");
            failed.Append(failed.Length == 0 ? "" : ",").Append(name);
        }
        if (failed.Length > 0)
            return ResponseWriter.WriteTextAsync(call, 500, $"{lines}{kind} check failed\n");
        return call.Info.TryGetQuery("verbose"u8, out _)
            ? ResponseWriter.WriteTextAsync(call, 200, $"{lines}{kind} check passed\n")
            : ResponseWriter.WriteTextAsync(call, 200, "ok");
    }

    private ValueTask AnswerOneAsync(ApiCall call, string kind, string single)
    {
        foreach (var (name, check, isReadinessOnly) in _checks)
        {
            if (name != single || isReadinessOnly && kind != "readyz")
                continue;
            return check() is { } why
                ? ResponseWriter.WriteTextAsync(call, 500, $"internal server error: {why}\n")
                : ResponseWriter.WriteTextAsync(call, 200, "ok");
        }
        return ResponseWriter.WriteTextAsync(call, 404, "404 page not found\n");
    }

    private static bool Split(string path, out string kind, out string single)
    {
        kind = single = "";
        foreach (var candidate in (ReadOnlySpan<string>)["livez", "readyz", "healthz"])
        {
            if (!path.AsSpan(1).StartsWith(candidate) || path.Length > candidate.Length + 1 && path[candidate.Length + 1] != '/')
                continue;
            kind = candidate;
            single = path.Length > candidate.Length + 2 ? path[(candidate.Length + 2)..] : "";
            return true;
        }
        return false;
    }
}
