namespace K3sFast.ApiMachinery;

internal static partial class TableRows
{
    private static void Pod(ref TableCells cells, ApiNode pod)
    {
        var spec = pod["spec"u8];
        var status = pod["status"u8];
        var summary = new PodSummary(pod);
        if (status["phase"u8].Equals("Succeeded"u8))
            cells.Conditions = """[{"type":"Completed","status":"True","reason":"Succeeded","message":"The pod has completed successfully."}]"""u8;
        else if (status["phase"u8].Equals("Failed"u8))
            cells.Conditions = """[{"type":"Completed","status":"True","reason":"Failed","message":"The pod failed."}]"""u8;

        cells.Name(pod);
        cells.Text($"{summary.Ready}/{summary.Total}");
        cells.Text(summary.Reason);
        cells.Text(summary.Restarts != 0 && summary.LastRestart is { } last
            ? $"{summary.Restarts} ({TableCells.HumanDuration(cells.Now - last)} ago)"
            : summary.Restarts.ToString());
        cells.Age(pod);
        cells.TextOr(FirstOf(status["podIPs"u8])["ip"u8], "<none>"u8);
        cells.TextOr(spec["nodeName"u8], "<none>"u8);
        cells.TextOr(status["nominatedNodeName"u8], "<none>"u8);
        if (spec["readinessGates"u8].Count == 0)
        {
            cells.Text("<none>"u8);
            return;
        }
        int open = 0;
        foreach (var gate in spec["readinessGates"u8].Elements)
            open += HasCondition(pod, gate["conditionType"u8].Utf8) ? 1 : 0;
        cells.Text($"{open}/{spec["readinessGates"u8].Count}");
    }

    private static ApiNode FirstOf(ApiNode array)
    {
        foreach (var element in array.Elements)
            return element;
        return default;
    }

    /// <summary>READY, STATUS and RESTARTS of a pod: the state machine that kubectl's users know.</summary>
    private sealed class PodSummary
    {
        internal int Ready { get; private set; }

        internal int Total { get; private set; }

        internal string Reason { get; private set; }

        internal long Restarts { get; private set; }

        internal DateTimeOffset? LastRestart { get; private set; }

        private long _sidecarRestarts;
        private DateTimeOffset? _lastSidecarRestart;

        internal PodSummary(ApiNode pod)
        {
            var spec = pod["spec"u8];
            var status = pod["status"u8];
            Reason = status["reason"u8].Utf8.IsEmpty ? status["phase"u8].AsString() : status["reason"u8].AsString();
            if (Condition(pod, "PodScheduled"u8)["reason"u8].Equals("SchedulingGated"u8))
                Reason = "SchedulingGated";
            Total = spec["containers"u8].Count;
            foreach (var container in spec["initContainers"u8].Elements)
                Total += IsSidecar(container) ? 1 : 0;

            bool isInitializing = ReadInitContainers(spec["initContainers"u8], status["initContainerStatuses"u8]);
            if (!isInitializing || HasCondition(pod, "Initialized"u8))
                ReadContainers(pod, status["containerStatuses"u8]);

            if (pod["metadata"u8]["deletionTimestamp"u8].IsNullOrUndefined)
                return;
            if (status["reason"u8].Equals("NodeLost"u8))
                Reason = "Unknown";
            else if (!status["phase"u8].Equals("Failed"u8) && !status["phase"u8].Equals("Succeeded"u8))
                Reason = "Terminating";
        }

        private bool ReadInitContainers(ApiNode containers, ApiNode statuses)
        {
            int index = -1;
            foreach (var status in statuses.Elements)
            {
                index++;
                bool isSidecar = IsSidecar(Named(containers, status["name"u8].Utf8));
                long restarts = status["restartCount"u8].AsInt64();
                var lastRestart = LastTermination(status);
                Restarts += restarts;
                LastRestart = Later(LastRestart, lastRestart);
                if (isSidecar)
                {
                    _sidecarRestarts += restarts;
                    _lastSidecarRestart = Later(_lastSidecarRestart, lastRestart);
                }
                var terminated = status["state"u8]["terminated"u8];
                var waitingReason = status["state"u8]["waiting"u8]["reason"u8];
                if (terminated.Kind == NodeKind.Object && terminated["exitCode"u8].AsInt64() == 0)
                    continue;
                if (isSidecar && status["started"u8].AsBool())
                {
                    Ready += status["ready"u8].AsBool() ? 1 : 0;
                    continue;
                }
                if (terminated.Kind == NodeKind.Object)
                    Reason = "Init:" + TerminationReason(terminated);
                else if (!waitingReason.Utf8.IsEmpty && !waitingReason.Equals("PodInitializing"u8))
                    Reason = "Init:" + waitingReason.AsString();
                else
                    Reason = $"Init:{index}/{containers.Count}";
                return true;
            }
            return false;
        }

        private void ReadContainers(ApiNode pod, ApiNode statuses)
        {
            Restarts = _sidecarRestarts;
            LastRestart = _lastSidecarRestart;
            bool hasRunning = false;
            // The first container that has something to say wins the STATUS column; of errors too.
            string? reason = null, errorReason = null;
            foreach (var status in statuses.Elements)
            {
                Restarts += status["restartCount"u8].AsInt64();
                LastRestart = Later(LastRestart, LastTermination(status));
                var waitingReason = status["state"u8]["waiting"u8]["reason"u8];
                var terminated = status["state"u8]["terminated"u8];
                if (!waitingReason.Utf8.IsEmpty)
                {
                    reason ??= waitingReason.AsString();
                }
                else if (terminated.Kind == NodeKind.Object)
                {
                    string text = TerminationReason(terminated);
                    reason ??= text;
                    if (terminated["exitCode"u8].AsInt64() != 0)
                        errorReason ??= text;
                }
                else if (status["ready"u8].AsBool() && status["state"u8]["running"u8].Kind == NodeKind.Object)
                {
                    hasRunning = true;
                    Ready++;
                }
            }
            Reason = reason ?? Reason;
            if (Reason != "Completed")
                return;
            if (hasRunning && HasCondition(pod, "Ready"u8))
                Reason = "Running";
            else if (errorReason is not null)
                Reason = errorReason;
            else if (hasRunning)
                Reason = "NotReady";
        }

        private static string TerminationReason(ApiNode terminated)
        {
            if (!terminated["reason"u8].Utf8.IsEmpty)
                return terminated["reason"u8].AsString();
            long signal = terminated["signal"u8].AsInt64();
            return signal != 0 ? $"Signal:{signal}" : $"ExitCode:{terminated["exitCode"u8].AsInt64()}";
        }

        private static DateTimeOffset? LastTermination(ApiNode status) =>
            TableCells.TryReadTime(status["lastState"u8]["terminated"u8]["finishedAt"u8], out var at) ? at : null;

        private static DateTimeOffset? Later(DateTimeOffset? a, DateTimeOffset? b) => a is null || b > a ? b : a;

        private static bool IsSidecar(ApiNode container) => container["restartPolicy"u8].Equals("Always"u8);

        private static ApiNode Named(ApiNode containers, ReadOnlySpan<byte> name)
        {
            foreach (var container in containers.Elements)
                if (container["name"u8].Equals(name))
                    return container;
            return default;
        }
    }
}
