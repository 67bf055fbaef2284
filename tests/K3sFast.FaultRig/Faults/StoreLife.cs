using System.Diagnostics;
using System.Globalization;
using K3sFast.FaultRig.Children;
using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Faults;

/// <summary>One life of a child process, seen by its parent.</summary>
internal sealed class StoreLife : IAsyncDisposable
{
    // A loaded machine may need long for anything; a child that is stuck is a finding.
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(120);

    private readonly Process _process;
    private readonly HistoryReader _reader;
    private readonly Task _reading;
    private readonly TaskCompletionSource<bool> _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public StoreLife(OperationHistory history, IReadOnlyDictionary<string, string> environment, string[] arguments)
    {
        _reader = new HistoryReader(history);
        var start = new ProcessStartInfo(Environment.ProcessPath!, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (var (name, value) in environment) start.Environment[name] = value;
        _process = Process.Start(start)!;
        _reading = Task.Run(async () =>
        {
            try
            {
                await ReadAsync().ConfigureAwait(false);
            }
            catch (Exception error)
            {
                // A child whose words make no sense must not wait for a reader.
                _opened.TrySetException(error);
                _process.Kill();
                throw;
            }
        });
    }

    /// <summary>True = it serves; false = it would not open, or died.</summary>
    public Task<bool> Opened => _opened.Task.WaitAsync(s_deadline);

    /// <summary>Why it would not open.</summary>
    public string? Refusal { get; private set; }

    /// <summary>The revision that it opened at.</summary>
    public long OpenedAt { get; private set; }

    /// <summary>What it complained of.</summary>
    public List<string> Complaints { get; } = [];

    /// <summary>What its clients were answered so far.</summary>
    public HistoryReader Clients => _reader;

    public bool HasEnded => _process.HasExited;

    public int Id => _process.Id;

    /// <summary>True = a signal has stopped it, and only another makes it go on.</summary>
    public bool IsStopped
    {
        get
        {
            try
            {
                // proc(5): the state is the first word behind the name in parentheses.
                string stat = File.ReadAllText($"/proc/{_process.Id}/stat");
                return stat[(stat.LastIndexOf(')') + 2)..].StartsWith('T');
            }
            catch (IOException)
            {
                return false;
            }
        }
    }

    public void Kill()
    {
        if (!_process.HasExited) _process.Kill();
    }

    /// <summary>Ends it in order: writers, watches, a last list, the file.</summary>
    public async Task StopAsync()
    {
        try
        {
            await _process.StandardInput.WriteLineAsync("stop").ConfigureAwait(false);
            await _process.StandardInput.FlushAsync().ConfigureAwait(false);
        }
        catch (IOException)
        {
            // It has ended.
        }
        await EndAsync().ConfigureAwait(false);
    }

    /// <summary>Waits for its end and for all that it has said.</summary>
    public async Task EndAsync()
    {
        await _process.WaitForExitAsync().WaitAsync(s_deadline).ConfigureAwait(false);
        await _reading.WaitAsync(s_deadline).ConfigureAwait(false);
        _opened.TrySetResult(false);
    }

    public async ValueTask DisposeAsync()
    {
        Kill();
        await EndAsync().ConfigureAwait(false);
        _process.Dispose();
    }

    private async Task ReadAsync()
    {
        using var output = new StreamReader(_process.StandardOutput.BaseStream, bufferSize: 64 * 1024);
        var line = new System.Text.StringBuilder();
        char[] buffer = new char[64 * 1024];
        int count;
        while ((count = await output.ReadAsync(buffer).ConfigureAwait(false)) > 0)
        {
            foreach (char letter in buffer.AsSpan(0, count))
            {
                if (letter != '\n')
                {
                    line.Append(letter);
                    continue;
                }
                Take(line.ToString());
                line.Clear();
            }
        }
        // What is left without its end was cut off by the kill.
        _opened.TrySetResult(false);
    }

    private void Take(string line)
    {
        if (_reader.TryRead(line)) return;
        string[] words = line.Split(' ', 3);
        switch (words[0])
        {
            case "open":
                OpenedAt = long.Parse(words[1], CultureInfo.InvariantCulture);
                _opened.TrySetResult(true);
                break;
            case "refused":
                Refusal = $"{words[1]}: {words[2]}";
                _opened.TrySetResult(false);
                break;
            case "stuck":
                Complaints.Add(line);
                break;
        }
    }
}
