namespace K3sFast.Configuration;

/// <summary>The <c>flag=value</c> words of <c>--kubelet-arg</c> and its siblings. The last value of a flag wins, as for the real programs.</summary>
internal sealed class ComponentArguments
{
    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private readonly string _flag;

    public ComponentArguments(string flag, List<string> words)
    {
        _flag = flag;
        foreach (var word in words)
        {
            var trimmed = word.TrimStart('-');
            var equals = trimmed.IndexOf('=');
            if (equals < 0)
                _values[trimmed] = "true";
            else
                _values[trimmed[..equals]] = trimmed[(equals + 1)..];
        }
    }

    /// <summary>The flag's value, or <paramref name="fallback"/>. Asking marks the flag as one that works.</summary>
    public string Text(string name, string fallback = "")
    {
        _used.Add(name);
        return _values.GetValueOrDefault(name, fallback);
    }

    /// <exception cref="ConfigurationException">Not a number from <paramref name="low"/> to <paramref name="high"/>.</exception>
    public int Number(string name, int fallback, int low, int high)
    {
        var text = Text(name);
        if (text.Length == 0)
            return fallback;
        return int.TryParse(text, out var number) && number >= low && number <= high
            ? number
            : throw new ConfigurationException($"invalid value \"{text}\" for {name} in --{_flag}: must be between {low} and {high}");
    }

    /// <exception cref="ConfigurationException">Not a duration such as 1h30m.</exception>
    public TimeSpan Duration(string name, TimeSpan fallback)
    {
        var text = Text(name);
        if (text.Length == 0)
            return fallback;
        return DurationText.TryParse(text, out var duration)
            ? duration
            : throw new ConfigurationException($"invalid value \"{text}\" for {name} in --{_flag}: must be a duration such as 1h30m");
    }

    /// <summary>One warning line per flag that was given and that nobody asked for. Call after the last <see cref="Text"/>.</summary>
    public IEnumerable<string> UnusedWarnings()
    {
        foreach (var name in _values.Keys)
        {
            if (!_used.Contains(name))
                yield return $"flag --{_flag}={name} is known to k3s but does nothing yet in k3sfast";
        }
    }
}
