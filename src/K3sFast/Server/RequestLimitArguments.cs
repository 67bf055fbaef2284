using System.Globalization;
using K3sFast.ApiMachinery;
using K3sFast.ApiServer;
using K3sFast.Configuration;

namespace K3sFast.Server;

/// <summary>kube-apiserver's flags on how many requests, how long and how many streams, with its bounds.</summary>
internal static class RequestLimitArguments
{
    // Upstream refuses more: a connection would hardly live.
    private const double MaxGoAwayChance = 0.02;

    public static ApiServerOptions Apply(ApiServerOptions options, ComponentArguments arguments)
    {
        var streams = arguments.Number("http2-max-streams-per-connection", 0, 0, int.MaxValue);
        return options with
        {
            MaxRequestsInFlight = arguments.Number("max-requests-inflight", options.MaxRequestsInFlight, 0, int.MaxValue),
            MaxMutatingRequestsInFlight = arguments.Number("max-mutating-requests-inflight", options.MaxMutatingRequestsInFlight, 0, int.MaxValue),
            EnablePriorityAndFairness = IsOn(arguments, "enable-priority-and-fairness"),
            RequestTimeout = Duration(arguments, "request-timeout", options.RequestTimeout),
            MinRequestTimeout = TimeSpan.FromSeconds(arguments.Number("min-request-timeout", (int)options.MinRequestTimeout.TotalSeconds, 0, int.MaxValue)),
            GoAwayChance = Chance(arguments, "goaway-chance"),
            DeleteCollectionWorkers = arguments.Number("delete-collection-workers", options.DeleteCollectionWorkers, 1, 1_000),
            Http2MaxStreamsPerConnection = streams == 0 ? options.Http2MaxStreamsPerConnection : streams,
        };
    }

    private static bool IsOn(ComponentArguments arguments, string name) => arguments.Text(name, "true") switch
    {
        "true" or "1" or "t" or "T" or "TRUE" or "True" => true,
        "false" or "0" or "f" or "F" or "FALSE" or "False" => false,
        var text => throw new ConfigurationException($"invalid value \"{text}\" for {name} in --kube-apiserver-arg: must be true or false"),
    };

    private static TimeSpan Duration(ComponentArguments arguments, string name, TimeSpan fallback)
    {
        var text = arguments.Text(name);
        if (text.Length == 0)
            return fallback;
        return GoDuration.TryParse(text, out var duration, out var why) && duration > TimeSpan.Zero
            ? duration
            : throw new ConfigurationException($"invalid value \"{text}\" for {name} in --kube-apiserver-arg: {(why.Length > 0 ? why : "must be positive")}");
    }

    private static double Chance(ComponentArguments arguments, string name)
    {
        var text = arguments.Text(name, "0");
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var chance) && chance is >= 0 and <= MaxGoAwayChance
            ? chance
            : throw new ConfigurationException($"invalid value \"{text}\" for {name} in --kube-apiserver-arg: must be between 0 and 0.02");
    }
}
