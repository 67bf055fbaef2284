using System.Globalization;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Holds requests and limits against the bounds of a LimitRange and collects what is wrong, in upstream's words.</summary>
internal sealed class LimitCheck
{
    internal List<string> Errors { get; } = [];

    /// <summary>All three bounds of one limit: min, max and the greatest ratio of limit to request.</summary>
    internal void All(string type, ApiNode limit, ResourceAmounts requests, ResourceAmounts limits)
    {
        foreach (var (name, bound) in ResourceAmounts.Read(limit["min"u8]))
            Min(type, name, bound, requests, limits);
        foreach (var (name, bound) in ResourceAmounts.Read(limit["max"u8]))
            Max(type, name, bound, requests, limits);
        foreach (var (name, bound) in ResourceAmounts.Read(limit["maxLimitRequestRatio"u8]))
            Ratio(type, name, bound, requests, limits);
    }

    internal void Min(string type, string name, Quantity bound, ResourceAmounts requests, ResourceAmounts limits)
    {
        if (!requests.TryGetValue(name, out var request))
            Errors.Add($"minimum {name} usage per {type} is {bound}.  No request is specified");
        else if (request < bound)
            Errors.Add($"minimum {name} usage per {type} is {bound}, but request is {request}");
        else if (limits.TryGetValue(name, out var limit) && limit < bound)
            Errors.Add($"minimum {name} usage per {type} is {bound}, but limit is {limit}");
    }

    internal void MaxRequest(string type, string name, Quantity bound, ResourceAmounts requests)
    {
        if (!requests.TryGetValue(name, out var request))
            Errors.Add($"maximum {name} usage per {type} is {bound}.  No request is specified");
        else if (request > bound)
            Errors.Add($"maximum {name} usage per {type} is {bound}, but request is {request}");
    }

    private void Max(string type, string name, Quantity bound, ResourceAmounts requests, ResourceAmounts limits)
    {
        if (!limits.TryGetValue(name, out var limit))
            Errors.Add($"maximum {name} usage per {type} is {bound}.  No limit is specified");
        else if (limit > bound)
            Errors.Add($"maximum {name} usage per {type} is {bound}, but limit is {limit}");
        else if (requests.TryGetValue(name, out var request) && request > bound)
            Errors.Add($"maximum {name} usage per {type} is {bound}, but request is {request}");
    }

    private void Ratio(string type, string name, Quantity bound, ResourceAmounts requests, ResourceAmounts limits)
    {
        var subject = $"{name} max limit to request ratio per {type} is {bound}";
        if (!requests.TryGetValue(name, out var request) || request.Sign == 0)
        {
            Errors.Add($"{subject}, but no request is specified or request is 0");
            return;
        }
        if (!limits.TryGetValue(name, out var limit) || limit.Sign == 0)
        {
            Errors.Add($"{subject}, but no limit is specified or limit is 0");
            return;
        }
        var ratio = limit.ToDouble() / request.ToDouble();
        if (ratio > bound.ToDouble())
            Errors.Add(string.Create(CultureInfo.InvariantCulture, $"{subject}, but provided ratio is {ratio:F6}"));
    }
}
