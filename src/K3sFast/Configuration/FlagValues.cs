namespace K3sFast.Configuration;

/// <summary>The settled value of each flag: command line over config file over environment over default.</summary>
/// <remarks>Immutable once loaded. Precedence is by flag: a list given on the command line replaces the config file's list whole.</remarks>
internal sealed class FlagValues
{
    private readonly Dictionary<string, List<string>> _values = new(StringComparer.Ordinal);
    private readonly FlagSet _flags;

    private FlagValues(FlagSet flags) => _flags = flags;

    /// <summary>Lines to log at warning level once logging is up: flags that do nothing yet, unknown config keys, old names.</summary>
    public List<string> Warnings { get; } = [];

    /// <summary>Settles all flags.</summary>
    /// <param name="arguments">Words after the command's name.</param>
    /// <param name="environment">Looks a variable up; null when unset.</param>
    /// <exception cref="ConfigurationException">Malformed input, or a flag that may not be ignored and is not in this version.</exception>
    public static FlagValues Load(ReadOnlySpan<string> arguments, Func<string, string?> environment) => Load(arguments, environment, FlagTable.ServerFlags);

    /// <summary>Settles the flags of <paramref name="flags"/>; the config file may have others', which are told and skipped.</summary>
    /// <exception cref="ConfigurationException">Malformed input, or a flag that may not be ignored and is not in this version.</exception>
    public static FlagValues Load(ReadOnlySpan<string> arguments, Func<string, string?> environment, FlagSet flags)
    {
        var settled = new FlagValues(flags);
        var told = FlagParser.Parse(arguments, flags);
        foreach (var (flag, value) in told)
            settled.Put(flag, value);

        var configFlag = flags.Find("config")!;
        var isConfigNamed = settled.IsSet("config") || !string.IsNullOrEmpty(FromEnvironment(configFlag, environment));
        var configPath = settled.IsSet("config") ? settled.Text("config") : FromEnvironment(configFlag, environment) ?? FlagTable.DefaultConfigFile;
        foreach (var entry in ConfigFile.Read(configPath, isConfigNamed))
            settled.PutConfig(entry);

        foreach (var flag in flags.Rows)
        {
            if (!settled.IsSet(flag.Name) && FromEnvironment(flag, environment) is { Length: > 0 } value)
                settled.Put(flag, FlagParser.Check(flag, value, $"environment variable {flag.Environment[0]}"));
        }
        settled.FollowOldNames();
        settled.JudgeStates();
        return settled;
    }

    public bool IsSet(string name) => _values.ContainsKey(name);

    /// <summary>Last value given, else the table's default (empty when there is none).</summary>
    public string Text(string name) => _values.TryGetValue(name, out var values) ? values[^1] : _flags.Find(name)!.Default;

    public bool IsOn(string name) => Text(name) == "true";

    /// <exception cref="ConfigurationException">The value is out of <paramref name="low"/>..<paramref name="high"/>.</exception>
    public int Number(string name, int low, int high)
    {
        var text = Text(name);
        return int.TryParse(text, out var number) && number >= low && number <= high
            ? number
            : throw new ConfigurationException($"invalid value \"{text}\" for flag -{name}: must be between {low} and {high}");
    }

    /// <summary>All values in order; for <see cref="FlagKind.CommaList"/> also split on commas. The default counts as given.</summary>
    public List<string> Many(string name)
    {
        var flag = _flags.Find(name)!;
        var values = _values.TryGetValue(name, out var given) ? given : flag.Default.Length > 0 ? [flag.Default] : [];
        var items = new List<string>(values.Count);
        foreach (var value in values)
        {
            if (flag.Kind == FlagKind.CommaList)
                items.AddRange(value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));
            else
                items.Add(value);
        }
        return items;
    }

    private static string? FromEnvironment(FlagSpec flag, Func<string, string?> environment)
    {
        foreach (var name in flag.Environment)
        {
            if (environment(name) is { Length: > 0 } value)
                return value;
        }
        return null;
    }

    private void Put(FlagSpec flag, string value)
    {
        if (!_values.TryGetValue(flag.Name, out var values))
            _values.Add(flag.Name, values = []);
        if (!flag.TakesMany)
            values.Clear();
        values.Add(value);
    }

    private void PutConfig(ConfigEntry entry)
    {
        if (_flags.Find(entry.Key) is not { } flag)
        {
            Warnings.Add($"Unknown flag --{entry.Key} found in {entry.Path}, skipping");
            return;
        }
        if (flag.Name == "config" || IsSet(flag.Name))
            return;
        foreach (var value in entry.Values)
            Put(flag, FlagParser.Check(flag, value, $"{entry.Key} in {entry.Path}"));
    }

    private void FollowOldNames()
    {
        Rename("kube-controller-arg", "kube-controller-manager-arg");
        Rename("kube-cloud-controller-arg", "kube-cloud-controller-manager-arg");
        Rename("no-deploy", "disable");
        Rename("cluster-secret", "token");
        foreach (var flag in _flags.Rows)
        {
            if (flag.State == FlagState.Deprecated && IsSet(flag.Name) && Text(flag.Name) != "false")
                Warnings.Add($"flag --{flag.Name} is an old name: use --{flag.Successor}");
        }
    }

    private void Rename(string old, string successor)
    {
        if (_values.TryGetValue(old, out var values) && _flags.Find(successor) is not null)
            _values.TryAdd(successor, values);
    }

    private void JudgeStates()
    {
        foreach (var flag in _flags.Rows)
        {
            if (flag.State is not (FlagState.NotYet or FlagState.Refused) || !IsSet(flag.Name))
                continue;
            if (Text(flag.Name) == flag.Default || (flag.Kind == FlagKind.Switch && !IsOn(flag.Name)))
                continue;
            if (flag.State == FlagState.Refused)
                throw new ConfigurationException(
                    $"flag --{flag.Name} is known to k3s but not in this version of k3sfast, and going on without it would not be safe: remove it");
            Warnings.Add($"flag --{flag.Name} is known to k3s but does nothing yet in k3sfast");
        }
    }
}
