using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>What priority and fairness does, by level and schema, under upstream's names: events as they happen, seats when they are asked for.</summary>
/// <remarks>Any thread. The instruments of a schema are made when it is read; noting a request allocates nothing.</remarks>
internal sealed class FlowMetrics
{
    private const string Prefix = "apiserver_flowcontrol_";

    // Upstream's bounds.
    private static readonly double[] s_seconds = [0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];
    private static readonly double[] s_lengths = [0, 10, 25, 50, 100, 250, 500, 1000];
    private static readonly double[] s_seats = [1, 2, 4, 8, 16, 32, 64, 100];

    private readonly MetricFamily<Counter> _dispatched, _rejected;
    private readonly MetricFamily<Gauge> _waiting, _waitingSeats, _executing, _executingSeats;
    private readonly MetricFamily<Histogram> _waits, _executions, _lengths, _estimates;
    private readonly ConcurrentDictionary<(string Level, string Schema), FlowSeries> _series = new();

    internal FlowMetrics(MetricRegistry registry, TimeProvider clock)
    {
        Kinds = new RequestKinds(clock);
        MetricFamily<Counter> Counters(string name, string help, params string[] more) => registry.Counters(Prefix + name, help, ["priority_level", "flow_schema", .. more]);
        MetricFamily<Gauge> Gauges(string name, string help) => registry.Gauges(Prefix + name, help, "priority_level", "flow_schema");
        MetricFamily<Histogram> Histograms(string name, string help, double[] bounds, params string[] more) =>
            registry.Histograms(Prefix + name, help, bounds, ["priority_level", "flow_schema", .. more]);

        _rejected = Counters("rejected_requests_total", "[BETA] Number of requests rejected by API Priority and Fairness subsystem", "reason");
        _dispatched = Counters("dispatched_requests_total", "[BETA] Number of requests executed by API Priority and Fairness subsystem");
        _waiting = Gauges("current_inqueue_requests", "[BETA] Number of requests currently pending in queues of the API Priority and Fairness subsystem");
        _waitingSeats = Gauges("current_inqueue_seats", "[ALPHA] Number of seats currently pending in queues of the API Priority and Fairness subsystem");
        _executing = Gauges(
            "current_executing_requests",
            "[BETA] Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem");
        _executingSeats = Gauges(
            "current_executing_seats",
            "[BETA] Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem");
        _waits = Histograms("request_wait_duration_seconds", "[BETA] Length of time a request spent waiting in its queue", s_seconds, "execute");
        _executions = Histograms(
            "request_execution_seconds",
            "[ALPHA] Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem", s_seconds, "type");
        _lengths = Histograms(
            "request_queue_length_after_enqueue", "[ALPHA] Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued", s_lengths);
        _estimates = Histograms(
            "work_estimated_seats", "[ALPHA] Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness", s_seats);
        FollowKinds(registry);
    }

    /// <summary>Requests that read and that write.</summary>
    internal RequestKinds Kinds { get; }

    /// <summary>The instruments of a schema's requests at a level.</summary>
    internal FlowSeries Of(string level, string schema) => _series.GetOrAdd((level, schema), static (key, owner) => new FlowSeries(owner, key.Level, key.Schema), this);

    /// <summary>Tells how the seats are shared out.</summary>
    internal static void Follow(MetricRegistry registry, SeatBudget budget)
    {
        void Seats(string name, string help, Func<LevelSeats, double> value) => registry.Collected(Prefix + name, "gauge", help, text =>
        {
            foreach (var level in budget.Levels())
                text.Sample(Prefix + name, Label(level.Name), value(level));
        });

        Seats("nominal_limit_seats", "[BETA] Nominal number of execution seats configured for each priority level", static level => level.Nominal);
        Seats("lower_limit_seats", "[ALPHA] Configured lower bound on number of execution seats available to each priority level", static level => level.Min);
        Seats("upper_limit_seats", "[ALPHA] Configured upper bound on number of execution seats available to each priority level", static level => level.Max);
        Seats("current_limit_seats", "[ALPHA] current derived number of execution seats available to each priority level", static level => level.Current);
        Seats("demand_seats_high_watermark", "[ALPHA] High watermark, over last adjustment period, of demand_seats", static level => level.Demand.Max);
        Seats("demand_seats_average", "[ALPHA] Time-weighted average, over last adjustment period, of demand_seats", static level => level.Demand.Mean);
        Seats("demand_seats_stdev", "[ALPHA] Time-weighted standard deviation, over last adjustment period, of demand_seats", static level => level.Demand.Deviation);
        Seats("demand_seats_smoothed", "[ALPHA] Smoothed seat demands", static level => level.Smoothed);
        Seats("target_seats", "[ALPHA] Seat allocation targets", static level => level.Target);
        void Times(string name, string help, Func<LevelSeats, IEnumerable<(string Labels, RatioHistogram Times)>> read) => registry.Collected(Prefix + name, "histogram", help, text =>
        {
            foreach (var level in budget.Levels())
            {
                foreach (var (labels, times) in read(level))
                    WriteTimes(text, Prefix + name, labels, times);
            }
        });

        Times(
            "demand_seats", "EXPERIMENTAL: [ALPHA] Observations, at the end of every nanosecond, of (the number of seats each priority level could use) / (nominal number of seats for that level)",
            static level => [(Label(level.Name), level.Times.Demand)]);
        Times(
            "priority_level_seat_utilization",
            "EXPERIMENTAL: [ALPHA] Observations, at the end of every nanosecond, of utilization of seats for any stage of execution (but only initial stage for WATCHes)",
            static level => [($"phase=\"executing\",{Label(level.Name)}", level.Times.Seats)]);
        Times(
            "priority_level_request_utilization",
            "EXPERIMENTAL: [ALPHA] Observations, at the end of every nanosecond, of number of requests (as a fraction of the relevant limit) waiting or in any stage of execution (but only initial stage for WATCHes)",
            static level => [($"phase=\"executing\",{Label(level.Name)}", level.Times.Executing), ($"phase=\"waiting\",{Label(level.Name)}", level.Times.Waiting)]);
        Virtual(registry, budget);
    }

    // Virtual times, by which queues are served.
    private static void Virtual(MetricRegistry registry, SeatBudget budget)
    {
        void Add(string name, string help, Action<MetricText, LevelSeats, string> write) => registry.Collected(Prefix + name, "gauge", $"[ALPHA] {help}", text =>
        {
            foreach (var level in budget.Levels())
                write(text, level, Prefix + name);
        });
        void Dispatched(string name, string help, Func<DispatchTimes, double> value) => Add(name, help, (text, level, full) =>
        {
            if (level.Dispatch.HasDispatched)
                text.Sample(full, Label(level.Name), value(level.Dispatch));
        });
        void Bounds(string name, string help, Func<DispatchTimes, (double Min, double Max)> value) => Add(name, help, (text, level, full) =>
        {
            if (!level.Dispatch.HasDispatched)
                return;
            text.Sample(full, $"bound=\"max\",{Label(level.Name)}", value(level.Dispatch).Max);
            text.Sample(full, $"bound=\"min\",{Label(level.Name)}", value(level.Dispatch).Min);
        });

        Add("current_r", "R(time of last change)", static (text, level, full) => text.Sample(full, Label(level.Name), level.Dispatch.Now));
        Dispatched("dispatch_r", "R(time of last dispatch)", static dispatch => dispatch.AtDispatch);
        Dispatched("latest_s", "S(most recently dispatched request)", static dispatch => dispatch.Latest);
        Bounds("next_s_bounds", "min and max, over queues, of S(oldest waiting request in queue)", static dispatch => (dispatch.Min, dispatch.Max));
        Bounds(
            "next_discounted_s_bounds", "min and max, over queues, of S(oldest waiting request in queue) - estimated work in progress",
            static dispatch => (dispatch.DiscountedMin, dispatch.DiscountedMax));
        registry.Collected(
            Prefix + "seat_fair_frac", "gauge", "[ALPHA] Fair fraction of server's concurrency to allocate to each priority level that can use it",
            text => text.Sample(Prefix + "seat_fair_frac", "", budget.FairFraction));
    }

    private void FollowKinds(MetricRegistry registry)
    {
        const string Current = "apiserver_current_inqueue_requests";
        registry.Collected(Current, "gauge", "[ALPHA] Maximal number of queued requests in this apiserver per request kind in last second.", text =>
        {
            text.Sample(Current, "request_kind=\"mutating\"", Kinds.WaitingNow(isMutating: true));
            text.Sample(Current, "request_kind=\"readOnly\"", Kinds.WaitingNow(isMutating: false));
        });
        registry.Collected(
            Prefix + "read_vs_write_current_requests", "histogram",
            "EXPERIMENTAL: [ALPHA] Observations, at the end of every nanosecond, of the number of requests (as a fraction of the relevant limit) waiting or in regular stage of execution",
            text =>
            {
                foreach (var (phase, kind, times) in Kinds.Read())
                    WriteTimes(text, Prefix + "read_vs_write_current_requests", $"phase=\"{phase}\",request_kind=\"{kind}\"", times);
            });
    }

    private static void WriteTimes(MetricText text, string name, string labels, RatioHistogram times)
    {
        double count = 0;
        for (var i = 0; i < times.Nanoseconds.Length; i++)
        {
            count += times.Nanoseconds[i];
            var bound = i < times.Bounds.Length ? times.Bounds[i].ToString(CultureInfo.InvariantCulture) : "+Inf";
            text.Sample($"{name}_bucket", $"{labels},le=\"{bound}\"", count);
        }
        text.Sample($"{name}_sum", labels, times.Sum);
        text.Sample($"{name}_count", labels, count);
    }

    // Names of objects need no escapes.
    private static string Label(string level) => $"priority_level=\"{level}\"";

    /// <summary>The instruments of one schema at one level.</summary>
    internal sealed class FlowSeries
    {
        private readonly FlowMetrics _owner;
        private readonly string _level, _schema;
        private readonly Counter _dispatched;
        private readonly Gauge _waiting, _waitingSeats, _executing, _executingSeats;
        private readonly Histogram _lengths, _estimates;

        // Made when there is something to tell.
        private Counter? _full, _limited, _late;
        private Histogram? _waited, _refused, _regular, _watches;

        internal FlowSeries(FlowMetrics owner, string level, string schema)
        {
            _owner = owner;
            _level = level;
            _schema = schema;
            _dispatched = owner._dispatched.With(level, schema);
            _waiting = owner._waiting.With(level, schema);
            _waitingSeats = owner._waitingSeats.With(level, schema);
            _executing = owner._executing.With(level, schema);
            _executingSeats = owner._executingSeats.With(level, schema);
            _lengths = owner._lengths.With(level, schema);
            _estimates = owner._estimates.With(level, schema);
        }

        /// <summary>A request has come that wants so many seats.</summary>
        internal void Estimated(int seats) => _estimates.Observe(seats);

        /// <summary>It was sent away at once.</summary>
        internal void Refused(bool isQueueFull)
        {
            (isQueueFull ? _full ??= _owner._rejected.With(_level, _schema, "queue-full") : _limited ??= _owner._rejected.With(_level, _schema, "concurrency-limit")).Add();
            (_refused ??= _owner._waits.With(_level, _schema, "false")).Observe(0);
        }

        /// <summary>It stands in a queue of that length.</summary>
        internal void Queued(int length, int seats, bool isMutating)
        {
            _owner.Kinds.Waiting(isMutating, 1);
            _lengths.Observe(length);
            _waiting.Add(1);
            _waitingSeats.Add(seats);
        }

        /// <summary>It stands there no longer.</summary>
        internal void Left(int seats, bool isMutating)
        {
            _owner.Kinds.Waiting(isMutating, -1);
            _waiting.Add(-1);
            _waitingSeats.Add(-seats);
        }

        /// <summary>It has waited so long, or hardly at all. Upstream counts who waited in vain here too.</summary>
        internal void Waited(long since) => (_waited ??= _owner._waits.With(_level, _schema, "true")).Observe(since == 0 ? 0 : Stopwatch.GetElapsedTime(since).TotalSeconds);

        /// <summary>It was given its seats at once, over a queue of its own length.</summary>
        internal void Passed(int length)
        {
            _lengths.Observe(length);
            Waited(0);
        }

        /// <summary>It waited in vain.</summary>
        internal void TimedOut() => (_late ??= _owner._rejected.With(_level, _schema, "time-out")).Add();

        /// <summary>It is being served.</summary>
        internal void Started(int seats, bool isMutating)
        {
            _owner.Kinds.Executing(isMutating, 1);
            _dispatched.Add();
            _executing.Add(1);
            _executingSeats.Add(seats);
        }

        /// <summary>It was served; a watch, as far as it had to begin.</summary>
        internal void Ended(int seats, bool isWatch, bool isMutating, long since)
        {
            _owner.Kinds.Executing(isMutating, -1);
            _executing.Add(-1);
            _executingSeats.Add(-seats);
            (isWatch ? _watches ??= _owner._executions.With(_level, _schema, "watch") : _regular ??= _owner._executions.With(_level, _schema, "regular"))
                .Observe(Stopwatch.GetElapsedTime(since).TotalSeconds);
        }
    }
}
