using System.Diagnostics;
using System.Text;

namespace K3sFast.EndToEnd.Tests;

/// <summary>A finished command.</summary>
internal sealed record CommandResult(string Command, int ExitCode, string Output, string Error)
{
    /// <summary>The output, trimmed; a command that failed fails the test with all it printed.</summary>
    internal string Ok()
    {
        Assert.True(ExitCode == 0, $"{Command}\nexit code {ExitCode}\n{Output}\n{Error}");
        return Output.Trim();
    }

    public override string ToString() => $"{Command}\nexit code {ExitCode}\n{Output}\n{Error}";
}

/// <summary>Runs programs; every run is bounded in time.</summary>
internal static class Shell
{
    private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(5);

    internal static async Task<CommandResult> RunAsync(IReadOnlyList<string> command, string? input = null, TimeSpan? timeout = null)
    {
        using var process = Start(command, redirect: true);
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        if (input is not null) await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        using var patience = new CancellationTokenSource(timeout ?? s_longest);
        try
        {
            await process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            return new CommandResult(string.Join(' ', command), -1, await output, await error + "\nended by the test: it took too long");
        }
        return new CommandResult(string.Join(' ', command), process.ExitCode, await output, await error);
    }

    internal static Process Start(IReadOnlyList<string> command, bool redirect)
    {
        var start = new ProcessStartInfo(command[0])
        {
            RedirectStandardInput = redirect,
            RedirectStandardOutput = redirect,
            RedirectStandardError = redirect,
            UseShellExecute = false,
        };
        if (redirect) (start.StandardOutputEncoding, start.StandardErrorEncoding) = (Encoding.UTF8, Encoding.UTF8);
        for (var i = 1; i < command.Count; i++) start.ArgumentList.Add(command[i]);
        return Process.Start(start) ?? throw new InvalidOperationException($"{command[0]} did not start");
    }
}

/// <summary>Waiting for what must come true.</summary>
internal static class Eventually
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(180);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(100);

    /// <summary>Asks again until <paramref name="attempt"/> gives a value that <paramref name="isGood"/> accepts; fails with the last one seen.</summary>
    internal static async Task<T> GetAsync<T>(Func<Task<T>> attempt, Func<T, bool> isGood, string what, TimeSpan? deadline = null)
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            var value = await attempt();
            if (isGood(value)) return value;
            Assert.True(watch.Elapsed < (deadline ?? s_deadline), $"{what}: not within {(deadline ?? s_deadline).TotalSeconds} s; last seen:\n{value}");
            await Task.Delay(s_pause);
        }
    }
}
