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

    internal FlowMetrics(MetricRegistry registry)
    {
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
    }

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
        registry.Collected(
            Prefix + "demand_seats", "histogram",
            "[ALPHA] Observations, at the end of every nanosecond, of (the number of seats each priority level could use) / (nominal number of seats for that level)", text =>
            {
                foreach (var level in budget.Levels())
                    WriteDemand(text, Label(level.Name), level.Times);
            });
    }

    // Every nanosecond is an observation, so that counts are times.
    private static void WriteDemand(MetricText text, string label, DemandTimes times)
    {
        double count = 0;
        for (var i = 0; i < times.Nanoseconds.Length; i++)
        {
            count += times.Nanoseconds[i];
            var bound = i < DemandTimes.Bounds.Length ? DemandTimes.Bounds[i].ToString(CultureInfo.InvariantCulture) : "+Inf";
            text.Sample(Prefix + "demand_seats_bucket", $"{label},le=\"{bound}\"", count);
        }
        text.Sample(Prefix + "demand_seats_sum", label, times.Sum);
        text.Sample(Prefix + "demand_seats_count", label, count);
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
        internal void Queued(int length, int seats)
        {
            _lengths.Observe(length);
            _waiting.Add(1);
            _waitingSeats.Add(seats);
        }

        /// <summary>It stands there no longer.</summary>
        internal void Left(int seats)
        {
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
        internal void Started(int seats)
        {
            _dispatched.Add();
            _executing.Add(1);
            _executingSeats.Add(seats);
        }

        /// <summary>It was served; a watch, as far as it had to begin.</summary>
        internal void Ended(int seats, bool isWatch, long since)
        {
            _executing.Add(-1);
            _executingSeats.Add(-seats);
            (isWatch ? _watches ??= _owner._executions.With(_level, _schema, "watch") : _regular ??= _owner._executions.With(_level, _schema, "regular"))
                .Observe(Stopwatch.GetElapsedTime(since).TotalSeconds);
        }
    }
}
