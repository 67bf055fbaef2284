using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// The server's seats and how they are shared out: nominally by shares, and every ten seconds by demand within what each level may lend and
/// borrow (KEP-1040).
/// </summary>
internal sealed class SeatBudget(int seats, RequestKinds kinds)
{
    internal static readonly TimeSpan Period = TimeSpan.FromSeconds(10);

    // How slowly a peak of demand is forgotten, per period; half of it in about five minutes.
    private const double Smoothing = 0.977;

    // A request takes at most this part of its level.
    private const double MaxSeatsFraction = 0.15;

    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly Dictionary<string, Part> _parts = new(StringComparer.Ordinal);
    private double _fairFraction;

    /// <summary>The part of its target that each level gets which may have more and less.</summary>
    internal double FairFraction
    {
        get
        {
            lock (_gate)
                return _fairFraction;
        }
    }

    /// <summary>Takes a level's object over; null = it is broken, as if it were not there.</summary>
    internal PriorityLevel? Configure(ApiNode configuration, string name, TimeProvider clock)
    {
        var spec = configuration["spec"u8];
        var isExempt = spec["type"u8].Equals("Exempt"u8);
        var settings = isExempt ? spec["exempt"u8] : spec["limited"u8];
        if (settings.Kind != NodeKind.Object || isExempt != (name == FlowControlDefaults.Exempt))
            return null;
        var queuing = settings["limitResponse"u8]["queuing"u8];
        lock (_gate)
        {
            if (!_parts.TryGetValue(name, out var part))
                _parts.Add(name, part = new Part(new PriorityLevel(name, clock)));
            part.Shares = settings["nominalConcurrencyShares"u8].AsInt64(isExempt ? 0 : 30);
            part.LendablePercent = settings["lendablePercent"u8].AsInt64();
            part.BorrowingPercent = settings["borrowingLimitPercent"u8].TryGetInt64(out var percent) ? percent : null;
            part.WaitingLimit = (int)(queuing["queues"u8].AsInt64() * queuing["queueLengthLimit"u8].AsInt64());
            part.HandSize = (int)queuing["handSize"u8].AsInt64(1);
            part.Level.Configure(
                configuration["metadata"u8]["uid"u8].AsString(), isExempt, (int)queuing["queues"u8].AsInt64(), part.HandSize, (int)queuing["queueLengthLimit"u8].AsInt64());
            return part.Level;
        }
    }

    /// <summary>Forgets the levels that are not among these, and gives the others their nominal seats.</summary>
    internal void Distribute(IReadOnlyCollection<string> names)
    {
        lock (_gate)
        {
            foreach (var gone in _parts.Keys.Where(name => !names.Contains(name)).ToList())
                _parts.Remove(gone);
            var shares = (double)_parts.Values.Sum(static part => part.Shares);
            foreach (var part in _parts.Values)
            {
                var nominal = shares > 0 ? (int)Math.Ceiling(seats * part.Shares / shares) : 0;
                var lendable = (int)Math.Round(nominal * part.LendablePercent / 100.0, MidpointRounding.AwayFromZero);
                var borrowable = part.BorrowingPercent is { } percent ? (int)Math.Round(nominal * percent / 100.0, MidpointRounding.AwayFromZero) : seats;
                part.Nominal = nominal;
                part.Min = nominal - lendable;
                part.Max = nominal + borrowable;
                part.Current ??= nominal - (lendable / 2);
            }
            kinds.SetLimits(_parts.Values.Sum(static part => part.WaitingLimit), _parts.Values.Sum(static part => part.Nominal));
            ShareOutLocked();
        }
    }

    /// <summary>Looks at the demand since the last time and moves seats to where they are wanted.</summary>
    internal void Adjust()
    {
        lock (_gate)
        {
            foreach (var part in _parts.Values)
            {
                var demand = part.Level.TakeDemand();
                part.Demand = demand;
                part.Peak = (int)Math.Round(demand.Max, MidpointRounding.AwayFromZero);
                if (demand.Seconds <= 0)
                    continue;
                var envelope = demand.Mean + demand.Deviation;
                part.Smoothed = Math.Max(envelope, (Smoothing * part.Smoothed) + ((1 - Smoothing) * envelope));
            }
            ShareOutLocked();
        }
    }

    /// <summary>What each level has, may have and wants.</summary>
    internal List<LevelSeats> Levels()
    {
        lock (_gate)
        {
            return [.. _parts.Values.OrderBy(static part => part.Level.Name, StringComparer.Ordinal).Select(static part => new LevelSeats(
                part.Level.Name, part.Nominal, part.Min, part.Max, part.Current ?? part.Nominal, part.Demand, part.Smoothed, part.Target, part.Level.Times(), part.Level.Dispatch()))];
        }
    }

    private void ShareOutLocked()
    {
        var left = _parts.Values.Sum(static part => part.Nominal);
        foreach (var part in _parts.Values.Where(static part => part.Level.IsExempt))
        {
            part.Current = Math.Max(part.Min, part.Peak);
            left -= part.Current.Value;
        }
        var limited = _parts.Values.Where(static part => !part.Level.IsExempt).ToList();
        int least = limited.Sum(static part => part.Min), wanted = limited.Sum(static part => part.Wanted);
        if (left <= wanted)
        {
            // Exempt requests take so much that not even what is in use can be granted.
            var fraction = left <= least ? 0 : (left - least) / (double)(wanted - least);
            foreach (var part in limited)
                part.Current = part.Min + (int)Math.Round((part.Wanted - part.Min) * fraction, MidpointRounding.AwayFromZero);
        }
        else
        {
            var shares = ConcurrencyAllocation.Share(
                left, [.. limited.Select(static part => new ConcurrencyAllocation.Claim(part.Wanted, part.Max, part.Target))], out _fairFraction);
            for (var i = 0; i < limited.Count; i++)
                limited[i].Current = (int)Math.Round(shares[i], MidpointRounding.AwayFromZero);
        }
        foreach (var part in _parts.Values)
            part.Level.SetLimit(part.Current ?? part.Nominal, part.MaxSeats, part.Current is > 0 ? part.Current.Value : (int)Math.Round(seats / 10.0, MidpointRounding.AwayFromZero));
    }

    private sealed class Part(PriorityLevel level)
    {
        internal PriorityLevel Level => level;

        internal long Shares, LendablePercent;
        internal long? BorrowingPercent;
        internal int HandSize = 1, WaitingLimit, Nominal, Min, Max, Peak;
        internal double Smoothed;
        internal SeatDemand.Summary Demand;
        internal int? Current;

        /// <summary>What it keeps of its nominal seats, by what it had in use.</summary>
        internal int Wanted => Math.Max(Min, Math.Min(Nominal, Peak));

        internal double Target => Math.Max(Wanted, Smoothed);

        internal int MaxSeats => (int)Math.Max(1, Math.Min(Math.Ceiling(Nominal * MaxSeatsFraction), Nominal / Math.Max(1, HandSize)));
    }
}

/// <summary>How many seats a level has, between which bounds, and how many it asked for in the last period and since the start.</summary>
internal readonly record struct LevelSeats(
    string Name, int Nominal, int Min, int Max, int Current, SeatDemand.Summary Demand, double Smoothed, double Target, LevelTimes Times, DispatchTimes Dispatch);
