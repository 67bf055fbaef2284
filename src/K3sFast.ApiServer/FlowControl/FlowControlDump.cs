using System.Globalization;
using System.Text;

namespace K3sFast.ApiServer;

/// <summary>The tables under /debug/api_priority_and_fairness/: levels, queues, and the requests that wait.</summary>
internal sealed class FlowControlDump(FlowController flows)
{
    private const string Prefix = "/debug/api_priority_and_fairness/";

    /// <summary>The page of a path; null when it is none of ours.</summary>
    internal string? Find(string path) => !path.StartsWith(Prefix, StringComparison.Ordinal) ? null : path[Prefix.Length..] switch
    {
        "dump_priority_levels" => Levels(),
        "dump_queues" => Queues(),
        "dump_requests" => Requests(),
        _ => null,
    };

    private IEnumerable<LevelState> States() =>
        flows.Current.Levels.Values.OrderBy(static level => level.Name, StringComparer.Ordinal).Select(static level => level.State());

    private string Levels() => Table(
        ["PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests", "DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests"],
        States().Select(static s => (string[])[
            s.Name, Text(s.ActiveQueues), Text(s.Waiting == 0 && s.Executing == 0), "false", Text(s.Waiting), Text(s.Executing), Text(s.Counts.Dispatched), Text(s.Counts.Rejected),
            Text(s.Counts.TimedOut), Text(s.Counts.Cancelled)]));

    private string Queues() => Table(
        ["PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR", "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum"],
        States().SelectMany(static s => s.Queues.Select((queue, index) => (string[])[
            s.Name, Text(index), Text(queue.Waiting), Text(queue.Executing), Text(queue.SeatsInUse), SeatSeconds(queue.NextDispatch), Text(queue.SeatsWaiting), Text(queue.SeatsWaiting),
            SeatSeconds(queue.SeatsWaiting * 0.003)])));

    private string Requests() => Table(
        ["PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime", "InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime"],
        States().SelectMany(static s => s.Waiters.Select(w => (string[])[
            s.Name, w.Waiter.Label.Schema ?? "", Text(w.Queue), Text(w.Index), w.Waiter.Label.Distinguisher ?? "", w.Waiter.Label.ArrivedAt.ToString("O", CultureInfo.InvariantCulture),
            Text(w.Waiter.Seats), "0", "0s", ""])));

    private static string SeatSeconds(double value) => value.ToString("F8", CultureInfo.InvariantCulture) + "ss";

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Text(bool value) => value ? "true" : "false";

    // Columns as wide as their widest cell, with a comma behind all but the last.
    private static string Table(string[] head, IEnumerable<string[]> rows)
    {
        List<string[]> all = [head, .. rows];
        var widths = head.Select((_, column) => all.Max(row => row[column].Length)).ToArray();
        var text = new StringBuilder();
        foreach (var row in all)
        {
            for (var column = 0; column < row.Length; column++)
            {
                if (column == row.Length - 1)
                    text.Append(row[column]).Append('\n');
                else
                    text.Append((row[column] + ",").PadRight(widths[column] + 2));
            }
        }
        return text.ToString();
    }
}
