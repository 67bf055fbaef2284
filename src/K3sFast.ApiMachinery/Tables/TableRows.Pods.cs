using System.Buffers;
using System.Globalization;
using System.Text.Unicode;

namespace K3sFast.ApiMachinery;

// Pods are listed in great numbers: their cells are written without a string.
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
        Fraction(ref cells, summary.Ready, summary.Total);
        summary.Reason.Write(ref cells);
        Restarts(ref cells, summary);
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
        Fraction(ref cells, open, spec["readinessGates"u8].Count);
    }

    private static void Fraction(ref TableCells cells, int number, int of)
    {
        Span<byte> text = stackalloc byte[32];
        Utf8.TryWrite(text, CultureInfo.InvariantCulture, $"{number}/{of}", out int length);
        cells.Text(text[..length]);
    }

    private static void Restarts(ref TableCells cells, in PodSummary summary)
    {
        Span<byte> text = stackalloc byte[128];
        if (summary.Restarts == 0 || summary.LastRestart is not { } last)
        {
            Utf8.TryWrite(text, CultureInfo.InvariantCulture, $"{summary.Restarts}", out int digits);
            cells.Text(text[..digits]);
            return;
        }
        Utf8.TryWrite(text, CultureInfo.InvariantCulture, $"{summary.Restarts} (", out int length);
        length += TableCells.WriteDuration(cells.Now - last, text[length..]);
        " ago)"u8.CopyTo(text[length..]);
        cells.Text(text[..(length + 5)]);
    }

    private static ApiNode FirstOf(ApiNode array)
    {
        foreach (var element in array.Elements)
            return element;
        return default;
    }

    /// <summary>READY, STATUS and RESTARTS of a pod: the state machine that kubectl's users know.</summary>
    private ref struct PodSummary
    {
        internal int Ready { get; private set; }

        internal int Total { get; private set; }

        internal PodReason Reason { get; private set; }

        internal long Restarts { get; private set; }

        internal DateTimeOffset? LastRestart { get; private set; }

        private long _sidecarRestarts;
        private DateTimeOffset? _lastSidecarRestart;

        internal PodSummary(ApiNode pod)
        {
            var spec = pod["spec"u8];
            var status = pod["status"u8];
            Reason = new PodReason(status["reason"u8].Utf8.IsEmpty ? status["phase"u8].Utf8 : status["reason"u8].Utf8);
            if (Condition(pod, "PodScheduled"u8)["reason"u8].Equals("SchedulingGated"u8))
                Reason = new PodReason("SchedulingGated"u8);
            Total = spec["containers"u8].Count;
            foreach (var container in spec["initContainers"u8].Elements)
                Total += IsSidecar(container) ? 1 : 0;

            bool isInitializing = ReadInitContainers(spec["initContainers"u8], status["initContainerStatuses"u8]);
            if (!isInitializing || HasCondition(pod, "Initialized"u8))
                ReadContainers(pod, status["containerStatuses"u8]);

            if (pod["metadata"u8]["deletionTimestamp"u8].IsNullOrUndefined)
                return;
            if (status["reason"u8].Equals("NodeLost"u8))
                Reason = new PodReason("Unknown"u8);
            else if (!status["phase"u8].Equals("Failed"u8) && !status["phase"u8].Equals("Succeeded"u8))
                Reason = new PodReason("Terminating"u8);
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
                    Reason = TerminationReason(terminated).OfInit();
                else if (!waitingReason.Utf8.IsEmpty && !waitingReason.Equals("PodInitializing"u8))
                    Reason = new PodReason(waitingReason.Utf8).OfInit();
                else
                    Reason = new PodReason(default, index, containers.Count).OfInit();
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
            PodReason reason = default, errorReason = default;
            foreach (var status in statuses.Elements)
            {
                Restarts += status["restartCount"u8].AsInt64();
                LastRestart = Later(LastRestart, LastTermination(status));
                var waitingReason = status["state"u8]["waiting"u8]["reason"u8];
                var terminated = status["state"u8]["terminated"u8];
                if (!waitingReason.Utf8.IsEmpty)
                {
                    reason = reason.Or(new PodReason(waitingReason.Utf8));
                }
                else if (terminated.Kind == NodeKind.Object)
                {
                    var text = TerminationReason(terminated);
                    reason = reason.Or(text);
                    if (terminated["exitCode"u8].AsInt64() != 0)
                        errorReason = errorReason.Or(text);
                }
                else if (status["ready"u8].AsBool() && status["state"u8]["running"u8].Kind == NodeKind.Object)
                {
                    hasRunning = true;
                    Ready++;
                }
            }
            Reason = reason.Or(Reason);
            if (!Reason.Is("Completed"u8))
                return;
            if (hasRunning && HasCondition(pod, "Ready"u8))
                Reason = new PodReason("Running"u8);
            else if (errorReason.IsGiven)
                Reason = errorReason;
            else if (hasRunning)
                Reason = new PodReason("NotReady"u8);
        }

        private static PodReason TerminationReason(ApiNode terminated)
        {
            if (!terminated["reason"u8].Utf8.IsEmpty)
                return new PodReason(terminated["reason"u8].Utf8);
            long signal = terminated["signal"u8].AsInt64();
            return signal != 0 ? new PodReason("Signal:"u8, signal) : new PodReason("ExitCode:"u8, terminated["exitCode"u8].AsInt64());
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

    /// <summary>The text of STATUS, in the parts that it is made of: a text, a number, a number of what is there.</summary>
    private readonly ref struct PodReason(ReadOnlySpan<byte> text, long? number = null, long? of = null)
    {
        private readonly ReadOnlySpan<byte> _text = text;
        private readonly long? _number = number;
        private readonly long? _of = of;

        private bool IsOfInit { get; init; }

        internal bool IsGiven { get; } = true;

        internal bool Is(ReadOnlySpan<byte> text) => !IsOfInit && _number is null && _text.SequenceEqual(text);

        internal PodReason Or(PodReason other) => IsGiven ? this : other;

        internal PodReason OfInit() => new(_text, _number, _of) { IsOfInit = true };

        internal void Write(ref TableCells cells)
        {
            if (!IsOfInit && _number is null)
            {
                cells.Text(_text);
                return;
            }
            var rented = ArrayPool<byte>.Shared.Rent(_text.Length + 64);
            int length = 0;
            if (IsOfInit)
            {
                "Init:"u8.CopyTo(rented);
                length = "Init:"u8.Length;
            }
            _text.CopyTo(rented.AsSpan(length));
            length += _text.Length;
            if (_number is { } number)
            {
                Utf8.TryWrite(rented.AsSpan(length), CultureInfo.InvariantCulture, $"{number}", out int digits);
                length += digits;
            }
            if (_of is { } of)
            {
                Utf8.TryWrite(rented.AsSpan(length), CultureInfo.InvariantCulture, $"/{of}", out int digits);
                length += digits;
            }
            cells.Text(rented.AsSpan(0, length));
            ArrayPool<byte>.Shared.Return(rented);
        }
    }
}
