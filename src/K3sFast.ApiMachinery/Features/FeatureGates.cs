using System.Collections.Frozen;

namespace K3sFast.ApiMachinery;

/// <summary>A gate that is not known, or that cannot be set so; the message is upstream's.</summary>
public sealed class FeatureGateException(string message) : Exception(message);

/// <summary>
/// Upstream's feature gates: which are on, by default or because the administrator said so. Gates of features that are not here yet can be
/// set and are remembered; those that decide what the API accepts act through <see cref="DisabledFields"/> and validation.
/// </summary>
/// <remarks>Immutable. One process has one set, <see cref="Current"/>, chosen before the first request.</remarks>
public sealed partial class FeatureGates
{
    private static readonly FrozenDictionary<string, Gate> s_known = ReadTable();

    private readonly FrozenDictionary<string, bool> _set;

    private FeatureGates(Dictionary<string, bool> set) => _set = set.ToFrozenDictionary();

    /// <summary>Every gate as it is by default.</summary>
    public static FeatureGates Default { get; } = new([]);

    /// <summary>The gates of this process.</summary>
    public static FeatureGates Current { get; private set; } = Default;

    /// <summary>The names of all gates.</summary>
    public static IEnumerable<string> Names => s_known.Keys;

    /// <summary>Every gate by name, with its stage (Alpha, Beta, GA, Deprecated) and whether it is on; AllAlpha and AllBeta are among them.</summary>
    public IEnumerable<(string Name, string Stage, bool IsOn)> All
    {
        get
        {
            foreach (var (name, gate) in s_known)
                yield return (name, gate.Stage, IsOn(name));
            yield return ("AllAlpha", "Alpha", IsOn("AllAlpha"));
            yield return ("AllBeta", "Beta", IsOn("AllBeta"));
        }
    }

    /// <summary>Reads "A=true,B=false", where AllAlpha and AllBeta stand for all gates of that stage that are not named.</summary>
    /// <exception cref="FeatureGateException">Unknown, no boolean, or locked; in upstream's words.</exception>
    public static FeatureGates Parse(string text)
    {
        var set = new Dictionary<string, bool>();
        foreach (var word in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            int equals = word.IndexOf('=');
            if (equals < 0)
                throw new FeatureGateException($"missing bool value for {word}");
            string name = word[..equals].Trim(), value = word[(equals + 1)..].Trim();
            if (GoBoolean.Parse(value) is not { } isOn)
                throw new FeatureGateException($"invalid value of {name}={value}, err: strconv.ParseBool: parsing {GoText.Quote(value)}: invalid syntax");
            if (name is not ("AllAlpha" or "AllBeta"))
            {
                if (!s_known.TryGetValue(name, out var gate))
                    throw new FeatureGateException($"unrecognized feature gate: {name}");
                if (gate.IsLocked && gate.IsOn != isOn)
                    throw new FeatureGateException($"cannot set feature gate {name} to {GoBoolean.Text(isOn)}, feature is locked to {GoBoolean.Text(gate.IsOn)}");
            }
            set[name] = isOn;
        }
        Spread(set, "AllAlpha", "Alpha");
        Spread(set, "AllBeta", "Beta");
        return new FeatureGates(set);
    }

    /// <summary>Makes these the gates of the process; before the first object is handled.</summary>
    public void Use()
    {
        Current = this;
        DisabledFields.Reset();
    }

    /// <summary>Whether the gate is on.</summary>
    public bool IsOn(string name) => _set.TryGetValue(name, out bool isOn) ? isOn : s_known.TryGetValue(name, out var gate) && gate.IsOn;

    private static void Spread(Dictionary<string, bool> set, string all, string stage)
    {
        if (!set.TryGetValue(all, out bool isOn))
            return;
        foreach (var (name, gate) in s_known)
            if (gate.Stage == stage && !gate.IsLocked)
                set.TryAdd(name, isOn);
    }

    private static FrozenDictionary<string, Gate> ReadTable()
    {
        var gates = new Dictionary<string, Gate>();
        foreach (var line in Table.Split('\n'))
        {
            var cells = line.Split(' ');
            gates[cells[0]] = new Gate(cells[1] == "true", cells[2], cells.Length > 3);
        }
        return gates.ToFrozenDictionary();
    }

    private sealed record Gate(bool IsOn, string Stage, bool IsLocked);
}

/// <summary>Booleans as Go's strconv reads and prints them.</summary>
public static class GoBoolean
{
    /// <summary>The value; null when the text is none.</summary>
    public static bool? Parse(string text) => text switch
    {
        "1" or "t" or "T" or "true" or "TRUE" or "True" => true,
        "0" or "f" or "F" or "false" or "FALSE" or "False" => false,
        _ => null,
    };

    /// <summary>true or false.</summary>
    public static string Text(bool value) => value ? "true" : "false";
}
