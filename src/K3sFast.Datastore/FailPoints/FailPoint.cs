using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;

namespace K3sFast.Datastore.FailPoints;

/// <summary>What a reached fail point asks its place to do.</summary>
public enum FailPointError
{
    /// <summary>Go on.</summary>
    None,

    /// <summary>Fail as the medium does: EIO.</summary>
    Io,

    /// <summary>Fail as a full file system does: ENOSPC.</summary>
    NoSpace,
}

/// <summary>
/// Places that can be made to fail, for fault tests. The published product contains none of this: its build sets the switch
/// K3sFast.FailPoints to false, and the compiler removes every call. Everywhere else they are there and cost a test of a field.
/// </summary>
/// <remarks>
/// Set by the environment, <c>K3SFAST_FAILPOINTS="commit.in-flush=kill@7;compact.before-commit=delay(20)%10"</c>, or from a file that is read anew
/// whenever it changes, <c>K3SFAST_FAILPOINTS=@/path</c>; grammar at <see cref="FailPointTerm"/>. Tests in one process use <see cref="Set"/>
/// and <see cref="On"/> with the path of their own store. Any thread.
/// </remarks>
public static class FailPoint
{
    private const string Variable = "K3SFAST_FAILPOINTS";

    /// <summary>False = removed from this build.</summary>
    [FeatureSwitchDefinition("K3sFast.FailPoints")]
    public static bool IsAvailable => Build.IsAvailable;

    /// <summary>Does what is set for a point; kills or delays itself, and returns the error that the caller is to fail with.</summary>
    /// <param name="name">One of <see cref="FailPointNames"/>.</param>
    /// <param name="where">The path of the store or file that is worked on.</param>
    public static FailPointError Reach(string name, string where) => IsAvailable ? Armed.Reach(name, where) : FailPointError.None;

    /// <summary>As <see cref="Reach"/>, but fails with an <see cref="IOException"/>.</summary>
    public static void ReachOrThrow(string name, string where)
    {
        if (!IsAvailable) return;
        var error = Armed.Reach(name, where);
        if (error != FailPointError.None) throw new IOException($"{(error == FailPointError.NoSpace ? "No space left on device" : "Input/output error")} (fail point {name}): {where}");
    }

    /// <summary>Sets a point by a term, as the environment does. <paramref name="where"/>: null = wherever it is reached.</summary>
    /// <returns>Dispose to take it back.</returns>
    public static IDisposable Set(string name, string term, string? where = null)
    {
        var parsed = FailPointTerm.Parse(term);
        return On(name, parsed.Act, where);
    }

    /// <summary>Runs <paramref name="act"/> on the thread that reaches the point, as often as it does.</summary>
    /// <returns>Dispose to take it back.</returns>
    public static IDisposable On(string name, Func<FailPointError> act, string? where = null)
    {
        if (!IsAvailable) throw new InvalidOperationException("this build has no fail points");
        if (!FailPointNames.All.Contains(name)) throw new ArgumentException($"there is no fail point {name}", nameof(name));
        return Armed.Add(new Armed.Hook(name, where, act));
    }

    // A holder of its own: the compiler keeps nothing of it when the switch is off, and elsewhere the test is one constant field.
    private static class Build
    {
        internal static readonly bool IsAvailable = !AppContext.TryGetSwitch("K3sFast.FailPoints", out bool isOn) || isOn;
    }

    private static class Armed
    {
        private static readonly Lock s_gate = new();
        private static readonly string? s_file = Environment.GetEnvironmentVariable(Variable) is ['@', .. var path] ? path : null;
        private static Hook[] s_hooks = s_file is null ? Parse(Environment.GetEnvironmentVariable(Variable) ?? "") : [];
        private static Hook[] s_fromFile = [];
        private static DateTime s_fileTime;

        internal static FailPointError Reach(string name, string where)
        {
            if (s_file is not null) ReadFile(s_file);
            foreach (var hook in Volatile.Read(ref s_hooks))
            {
                if (hook.Matches(name, where) && hook.Act() is var error and not FailPointError.None) return error;
            }
            foreach (var hook in Volatile.Read(ref s_fromFile))
            {
                if (hook.Matches(name, where) && hook.Act() is var error and not FailPointError.None) return error;
            }
            return FailPointError.None;
        }

        internal static Hook Add(Hook hook)
        {
            lock (s_gate) Volatile.Write(ref s_hooks, [.. s_hooks, hook]);
            return hook;
        }

        private static void Remove(Hook hook)
        {
            lock (s_gate) Volatile.Write(ref s_hooks, [.. s_hooks.Where(other => other != hook)]);
        }

        private static void ReadFile(string path)
        {
            var time = File.GetLastWriteTimeUtc(path);
            if (time == s_fileTime) return;
            lock (s_gate)
            {
                if (time == s_fileTime) return;
                Volatile.Write(ref s_fromFile, File.Exists(path) ? Parse(File.ReadAllText(path)) : []);
                s_fileTime = time;
            }
        }

        private static Hook[] Parse(string text)
        {
            var hooks = new List<Hook>();
            foreach (string part in text.Split((char[])[';', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
            {
                if (part.Split('=', 2) is not [var name, var term] || !FailPointNames.All.Contains(name)) throw new FormatException($"{Variable}: there is no fail point \"{part}\"");
                hooks.Add(new Hook(name, null, FailPointTerm.Parse(term).Act));
            }
            return [.. hooks];
        }

        internal sealed class Hook(string name, string? where, Func<FailPointError> act) : IDisposable
        {
            public Func<FailPointError> Act { get; } = act;

            public bool Matches(string reached, string place) => name == reached && (where is null || where == place);

            public void Dispose() => Remove(this);
        }
    }
}

/// <summary>
/// What a point does and when. Grammar: <c>action["@"first]["*"times]["%"percent]</c> with action = <c>kill</c> (SIGKILL to this process) |
/// <c>stop</c> (SIGSTOP) | <c>delay(milliseconds)</c> | <c>error(EIO)</c> | <c>error(ENOSPC)</c> | <c>off</c>.
/// <c>@7</c> = not before it is reached the seventh time, <c>*3</c> = three times at most, <c>%10</c> = at one reach in ten, by chance.
/// </summary>
internal sealed class FailPointTerm
{
    private readonly string _action;
    private readonly int _delayMs;
    private readonly int _first;
    private readonly int _times;
    private readonly int _percent;
    private int _reached;
    private int _acted;

    private FailPointTerm(string action, int delayMs, int first, int times, int percent)
    {
        _action = action;
        _delayMs = delayMs;
        _first = first;
        _times = times;
        _percent = percent;
    }

    internal static FailPointTerm Parse(string text)
    {
        int first = 1, times = int.MaxValue, percent = 100;
        string action = text.Trim();
        while (action.LastIndexOfAny(['@', '*', '%']) is var at and > 0)
        {
            if (!int.TryParse(action.AsSpan(at + 1), out int number) || number < 0) throw new FormatException($"fail point term \"{text}\": no number after {action[at]}");
            if (action[at] == '@') first = number;
            else if (action[at] == '*') times = number;
            else percent = number;
            action = action[..at];
        }
        int delayMs = 0;
        bool isDelay = action.StartsWith("delay(", StringComparison.Ordinal) && action.EndsWith(')') && int.TryParse(action.AsSpan(6, action.Length - 7), out delayMs);
        if (isDelay) action = "delay";
        if (!isDelay && action is not ("kill" or "stop" or "error(EIO)" or "error(ENOSPC)" or "off")) throw new FormatException($"fail point term \"{text}\": unknown action");
        return new FailPointTerm(action, delayMs, first, times, percent);
    }

    internal FailPointError Act()
    {
        if (Interlocked.Increment(ref _reached) < _first) return FailPointError.None;
        if (_percent < 100 && Random.Shared.Next(100) >= _percent) return FailPointError.None;
        if (Interlocked.Increment(ref _acted) > _times) return FailPointError.None;
        switch (_action)
        {
            case "kill":
                using (var self = Process.GetCurrentProcess()) self.Kill();
                // The signal is on its way; nothing may happen after it.
                Thread.Sleep(Timeout.Infinite);
                return FailPointError.None;
            case "stop":
                // Goes on at this very place when somebody sends SIGCONT.
                OwnSignal.Stop();
                return FailPointError.None;
            case "delay":
                Thread.Sleep(_delayMs);
                return FailPointError.None;
            case "error(EIO)":
                return FailPointError.Io;
            case "error(ENOSPC)":
                return FailPointError.NoSpace;
            default:
                return FailPointError.None;
        }
    }
}
