using System.Globalization;

namespace K3sFast.AddOns.Dns;

/// <summary>Reads the cache plugin.</summary>
internal static class CacheSetup
{
    // As CoreDNS: less is not a cache.
    private const int MinCapacity = 1024;

    internal static CachePlugin Parse(CorefileDirective directive, DnsConfigBuilder.BlockContext context, DnsParts parts)
    {
        var names = directive.Arguments.AsEnumerable();
        var options = new CacheOptions { Zones = context.Zones([]) };
        if (directive.Arguments.Length > 0 && uint.TryParse(directive.Arguments[0], out var ttl))
        {
            if (ttl == 0) throw directive.Error("cache TTL can not be zero or negative: 0");
            names = names.Skip(1);
            options = options with { Success = options.Success with { MaxSeconds = ttl }, Denial = options.Denial with { MaxSeconds = ttl } };
        }
        options = options with { Zones = context.Zones(names) };
        foreach (var line in directive.Lines)
        {
            options = line.Words switch
            {
                ["success", .. { Length: >= 1 and <= 3 } rest] => options with { Success = Limits(line, rest, options.Success) },
                ["denial", .. { Length: >= 1 and <= 3 } rest] => options with { Denial = Limits(line, rest, options.Denial) },
                ["prefetch", .. { Length: >= 1 and <= 3 } rest] => Prefetch(line, rest, options),
                ["serve_stale", .. { Length: <= 4 } rest] => Stale(line, rest, options),
                ["servfail", var duration] => options with { ServerFailureSeconds = ServerFailure(line, duration) },
                ["disable", "success", .. var zones] => options with { NoSuccess = Zones(zones) },
                ["disable", "denial", .. var zones] => options with { NoDenial = Zones(zones) },
                ["keepttl"] => options with { KeepsTtl = true },
                _ => throw DnsConfigBuilder.UnknownProperty(line),
            };
        }
        return new CachePlugin(options, parts.Engine, parts.Metrics, context.Server, string.Join(',', options.Zones.Zones.Select(static zone => NameText.Of(zone))));
    }

    private static ZoneSet Zones(string[] names) => new(names.Length == 0 ? [[0]] : names.SelectMany(ZoneSet.Parse));

    private static CacheLimits Limits(CorefileLine line, string[] words, CacheLimits limits)
    {
        var numbers = new uint[3];
        for (var i = 0; i < words.Length; i++)
        {
            if (!uint.TryParse(words[i], NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i])) throw line.Error($"\"{words[i]}\" is no number");
        }
        if (words.Length > 1 && numbers[1] == 0) throw line.Error("cache TTL can not be zero or negative: 0");
        return new CacheLimits(
            Math.Max(MinCapacity, (int)Math.Min(numbers[0], 10_000_000)), words.Length > 1 ? numbers[1] : limits.MaxSeconds, words.Length > 2 ? numbers[2] : limits.MinSeconds);
    }

    // AMOUNT [DURATION [PERCENTAGE%]]
    private static CacheOptions Prefetch(CorefileLine line, string[] words, CacheOptions options)
    {
        if (!int.TryParse(words[0], out var amount) || amount < 0) throw line.Error($"prefetch amount should be positive: {words[0]}");
        var percent = 10;
        if (words.Length > 2 && (!words[2].EndsWith('%') || !int.TryParse(words[2][..^1], out percent) || percent is < 10 or > 90))
        {
            throw line.Error($"percentage should fall in range [10, 90]: {words[2]}");
        }
        return options with { PrefetchAmount = amount, PrefetchWindow = words.Length > 1 ? CorefileDuration.Parse(words[1]) : options.PrefetchWindow, PrefetchPercent = percent };
    }

    // [DURATION] [immediate [RESPONSE_TTL] | verify]
    private static CacheOptions Stale(CorefileLine line, string[] words, CacheOptions options)
    {
        var stale = words.Length > 0 ? CorefileDuration.Parse(words[0]) : TimeSpan.FromHours(1);
        if (stale <= TimeSpan.Zero) throw line.Error("invalid negative duration for serve_stale");
        var mode = words.Length > 1 ? words[1] : "immediate";
        if (mode is not ("immediate" or "verify")) throw line.Error($"invalid value for serve_stale refresh mode: {mode}");
        // A bound for the verification would have to leave a question behind; not built in.
        if (words.Length > 3 || (mode == "verify" && words.Length > 2)) throw line.Error("serve_stale: only DURATION, the mode and, for immediate, RESPONSE_TTL are part of the built-in DNS");
        return options with
        {
            StaleFor = stale,
            VerifiesStale = mode == "verify",
            StaleTtl = words.Length > 2 ? (uint)CorefileDuration.Parse(words[2]).TotalSeconds : 0,
        };
    }

    private static uint ServerFailure(CorefileLine line, string word)
    {
        var duration = CorefileDuration.Parse(word);
        return duration <= TimeSpan.FromMinutes(5) ? (uint)duration.TotalSeconds : throw line.Error("caching SERVFAIL responses over 5 minutes is not permitted");
    }
}
