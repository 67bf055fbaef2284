using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace K3sFast.FaultRig.History;

/// <summary>
/// Writes down what clients do, a line each, for <see cref="HistoryReader"/>. A call is written out before it is made; all else may wait
/// for the next call, and what a killed process has not written is merely not known.
/// </summary>
/// <remarks>
/// Lines, fields parted by tabs: <c>i id kind key expected value lease at time</c> called; <c>c id outcome revision time entry…</c> answered;
/// <c>w id after time</c> watch began; <c>e id time entry</c> it showed a change; <c>p id revision time</c> progress; <c>x id end time</c> it ended;
/// entry = <c>key kind revision create-revision value</c> parted by commas, value <c>!</c> = not whole. Any thread.
/// </remarks>
internal sealed class HistoryWriter(Action<ReadOnlyMemory<byte>> write)
{
    private readonly Lock _gate = new();
    private readonly StringBuilder _line = new();
    private int _nextId;

    public int Call(OperationKind kind, string key, long expected = 0, string value = "", long lease = 0, long at = 0)
    {
        lock (_gate)
        {
            int id = _nextId++;
            _line.Append(CultureInfo.InvariantCulture, $"i\t{id}\t{(int)kind}\t{key}\t{expected}\t{value}\t{lease}\t{at}\t{Stopwatch.GetTimestamp()}\n");
            FlushLocked();
            return id;
        }
    }

    public void Answer(int id, OperationOutcome outcome, long revision, List<Observation>? entries = null)
    {
        long now = Stopwatch.GetTimestamp();
        lock (_gate)
        {
            _line.Append(CultureInfo.InvariantCulture, $"c\t{id}\t{(int)outcome}\t{revision}\t{now}");
            foreach (var entry in entries ?? []) AppendEntry(entry);
            _line.Append('\n');
        }
    }

    public int BeginWatch(long afterRevision)
    {
        lock (_gate)
        {
            int id = _nextId++;
            _line.Append(CultureInfo.InvariantCulture, $"w\t{id}\t{afterRevision}\t{Stopwatch.GetTimestamp()}\n");
            FlushLocked();
            return id;
        }
    }

    public void Show(int watch, in Observation change)
    {
        long now = Stopwatch.GetTimestamp();
        lock (_gate)
        {
            _line.Append(CultureInfo.InvariantCulture, $"e\t{watch}\t{now}");
            AppendEntry(change);
            _line.Append('\n');
        }
    }

    public void Progress(int watch, long revision)
    {
        lock (_gate) _line.Append(CultureInfo.InvariantCulture, $"p\t{watch}\t{revision}\t{Stopwatch.GetTimestamp()}\n");
    }

    public void EndWatch(int watch, WatchEnd end)
    {
        lock (_gate) _line.Append(CultureInfo.InvariantCulture, $"x\t{watch}\t{(int)end}\t{Stopwatch.GetTimestamp()}\n");
    }

    /// <summary>A line that is no part of the history: what the child tells its parent.</summary>
    public void Tell(string line)
    {
        lock (_gate)
        {
            _line.Append(line).Append('\n');
            FlushLocked();
        }
    }

    public void Flush()
    {
        lock (_gate) FlushLocked();
    }

    private void AppendEntry(in Observation entry) =>
        _line.Append(CultureInfo.InvariantCulture, $"\t{entry.Key},{(int)entry.Kind},{entry.Revision},{entry.CreateRevision},{entry.Value ?? "!"}");

    private void FlushLocked()
    {
        if (_line.Length == 0) return;
        write(Encoding.UTF8.GetBytes(_line.ToString()));
        _line.Clear();
    }
}
