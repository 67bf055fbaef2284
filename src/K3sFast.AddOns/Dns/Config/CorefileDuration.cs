using K3sFast.ApiMachinery;

namespace K3sFast.AddOns.Dns;

/// <summary>Durations in a Corefile: Go's, and none below zero.</summary>
internal static class CorefileDuration
{
    /// <exception cref="FormatException">It is none.</exception>
    internal static TimeSpan Parse(string text)
    {
        if (!GoDuration.TryParse(text, out var duration, out var error)) throw new FormatException(error);
        return duration >= TimeSpan.Zero ? duration : throw new FormatException($"negative duration: {text}");
    }
}
