namespace K3sFast.Configuration;

/// <summary>Reads a command line against a <see cref="FlagSet"/>, by the rules of the Go flag parsers k3s is built on.</summary>
/// <remarks>
/// <c>--name value</c>, <c>--name=value</c>, one dash or two, <c>-t value</c>; a switch takes a value only after <c>=</c>;
/// <c>--</c> and the first word without a dash end the flags. Values keep the order in which they were given.
/// </remarks>
internal static class FlagParser
{
    /// <summary>Splits <paramref name="arguments"/> into flag values.</summary>
    /// <exception cref="ConfigurationException">Unknown flag, missing value, malformed number or switch, or a stray word.</exception>
    public static List<KeyValuePair<FlagSpec, string>> Parse(ReadOnlySpan<string> arguments, FlagSet flags)
    {
        var values = new List<KeyValuePair<FlagSpec, string>>();
        for (var i = 0; i < arguments.Length; i++)
        {
            var word = arguments[i];
            if (word.Length < 2 || word[0] != '-')
                throw new ConfigurationException($"unexpected argument: {word}");
            if (word == "--")
                break;
            var name = word.AsSpan(word[1] == '-' ? 2 : 1);
            var equals = name.IndexOf('=');
            var value = equals < 0 ? null : name[(equals + 1)..].ToString();
            var key = (equals < 0 ? name : name[..equals]).ToString();
            var flag = flags.Find(key) ?? throw new ConfigurationException($"flag provided but not defined: -{key}");
            if (value is null)
            {
                if (flag.Kind == FlagKind.Switch)
                    value = "true";
                else if (++i < arguments.Length)
                    value = arguments[i];
                else
                    throw new ConfigurationException($"flag needs an argument: -{key}");
            }
            values.Add(new(flag, Check(flag, value, $"flag -{key}")));
        }
        return values;
    }

    /// <summary>The value in canonical text: switches become <c>true</c> or <c>false</c>; other kinds are unchanged.</summary>
    /// <exception cref="ConfigurationException">The value does not fit the flag; the message names <paramref name="source"/>.</exception>
    public static string Check(FlagSpec flag, string value, string source) => flag.Kind switch
    {
        FlagKind.Switch => TryParseSwitch(value, out var isOn)
            ? isOn ? "true" : "false"
            : throw new ConfigurationException($"invalid boolean value \"{value}\" for {source}: parse error"),
        FlagKind.Number => long.TryParse(value, out _)
            ? value
            : throw new ConfigurationException($"invalid value \"{value}\" for {source}: parse error"),
        _ => value,
    };

    /// <summary>Go's boolean words plus YAML 1.1's, which reach us through config files.</summary>
    private static bool TryParseSwitch(string value, out bool isOn)
    {
        isOn = value is "1" or "t" or "T" or "true" or "TRUE" or "True" or "yes" or "Yes" or "YES" or "on" or "On" or "ON";
        return isOn || value is "0" or "f" or "F" or "false" or "FALSE" or "False" or "no" or "No" or "NO" or "off" or "Off" or "OFF" or "";
    }
}
