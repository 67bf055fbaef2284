using K3sFast.ApiMachinery;

namespace K3sFast.Configuration;

/// <summary>The <c>flag=value</c> words of <c>--kubelet-arg</c> and its siblings. The last value of a flag wins, as for the real programs.</summary>
internal sealed class ComponentArguments
{
    private readonly Dictionary<string, List<string>> _values = new(StringComparer.Ordinal);
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private readonly string _flag;

    public ComponentArguments(string flag, List<string> words)
    {
        _flag = flag;
        foreach (var word in words)
        {
            var trimmed = word.TrimStart('-');
            var equals = trimmed.IndexOf('=');
            var name = equals < 0 ? trimmed : trimmed[..equals];
            if (!_values.TryGetValue(name, out var values))
                _values[name] = values = [];
            values.Add(equals < 0 ? "true" : trimmed[(equals + 1)..]);
        }
    }

    /// <summary>The flag's value, or <paramref name="fallback"/>. Asking marks the flag as one that works.</summary>
    public string Text(string name, string fallback = "")
    {
        _used.Add(name);
        return _values.TryGetValue(name, out var values) ? values[^1] : fallback;
    }

    /// <summary>The flags that were given.</summary>
    public IEnumerable<string> Names => _values.Keys;

    /// <summary>The flags that were given with their values, those of a repeated flag joined by commas. Does not mark them.</summary>
    public Dictionary<string, string> Given() => _values.ToDictionary(static flag => flag.Key, static flag => string.Join(',', flag.Value));

    /// <summary>True if the flag was given at all. Does not mark it.</summary>
    public bool Has(string name) => _values.ContainsKey(name);

    /// <summary>All values of a flag that may be repeated, each split at commas if <paramref name="splits"/>.</summary>
    public List<string> Many(string name, bool splits = true)
    {
        _used.Add(name);
        if (!_values.TryGetValue(name, out var values))
            return [];
        return splits ? [.. values.SelectMany(static value => value.Split(',', StringSplitOptions.RemoveEmptyEntries))] : [.. values];
    }

    /// <exception cref="ConfigurationException">Neither true nor false.</exception>
    public bool Switch(string name, bool fallback)
    {
        var text = Text(name);
        return text switch
        {
            "" => fallback,
            "true" or "True" or "TRUE" or "t" or "T" or "1" => true,
            "false" or "False" or "FALSE" or "f" or "F" or "0" => false,
            _ => throw new ConfigurationException($"invalid value \"{text}\" for {name} in --{_flag}: must be true or false"),
        };
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

    /// <exception cref="ConfigurationException">Not a duration such as 1h30m, or a negative one.</exception>
    public TimeSpan Duration(string name, TimeSpan fallback)
    {
        var text = Text(name);
        if (text.Length == 0)
            return fallback;
        return GoDuration.TryParse(text, out var duration, out _) && duration >= TimeSpan.Zero
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
