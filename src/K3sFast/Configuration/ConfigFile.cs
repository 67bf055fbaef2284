using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace K3sFast.Configuration;

/// <summary>Reads config.yaml and its drop-ins into ordered values per key.</summary>
/// <remarks>
/// <c>config.yaml.d/*.yaml|*.yml</c> follow the base file in lexical order. The last file that has a key wins; <c>key+</c> appends to
/// what earlier files said. A list stands for a repeated flag.
/// </remarks>
internal static class ConfigFile
{
    /// <summary>All keys of the file at <paramref name="path"/> and of its <c>.d</c> folder, in the order first met.</summary>
    /// <param name="path">Base file. It may be absent unless <paramref name="mustExist"/>.</param>
    /// <param name="mustExist">True when the user named the file.</param>
    /// <exception cref="ConfigurationException">Unreadable, not YAML, or not a map of scalars and lists.</exception>
    public static List<ConfigEntry> Read(string path, bool mustExist)
    {
        var entries = new List<ConfigEntry>();
        if (File.Exists(path))
            Merge(entries, path);
        else if (mustExist && !Directory.Exists(path + ".d"))
            throw new ConfigurationException($"stat {path}: no such file or directory");

        if (Directory.Exists(path + ".d"))
        {
            var dropIns = Directory.GetFiles(path + ".d");
            Array.Sort(dropIns, StringComparer.Ordinal);
            foreach (var dropIn in dropIns)
            {
                if (dropIn.EndsWith(".yaml", StringComparison.Ordinal) || dropIn.EndsWith(".yml", StringComparison.Ordinal))
                    Merge(entries, dropIn);
            }
        }
        return entries;
    }

    private static void Merge(List<ConfigEntry> entries, string path)
    {
        foreach (var (rawKey, values) in ParseFile(path))
        {
            var appends = rawKey.EndsWith('+');
            var key = appends ? rawKey[..^1] : rawKey;
            var at = entries.FindIndex(entry => entry.Key == key);
            if (at < 0)
                entries.Add(new(key, values, path));
            else
                entries[at] = new(key, appends ? [.. entries[at].Values, .. values] : values, path);
        }
    }

    private static List<(string Key, List<string> Values)> ParseFile(string path)
    {
        try
        {
            using var reader = new StreamReader(path);
            return ParseMap(new Parser(reader), path);
        }
        catch (YamlException e)
        {
            throw new ConfigurationException($"failed to read {path}: yaml: line {e.Start.Line}: {e.Message}", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"failed to read {path}: {e.Message}", e);
        }
    }

    private static List<(string Key, List<string> Values)> ParseMap(Parser parser, string path)
    {
        var map = new List<(string, List<string>)>();
        parser.Consume<StreamStart>();
        if (parser.Accept<StreamEnd>(out _))
            return map;
        parser.Consume<DocumentStart>();
        if (parser.Accept<Scalar>(out var only) && IsNull(only))
            return map;
        if (!parser.TryConsume<MappingStart>(out _))
            throw new ConfigurationException($"failed to read {path}: a map of flag names to values is expected");
        while (!parser.TryConsume<MappingEnd>(out _))
        {
            var key = parser.Consume<Scalar>().Value;
            var values = new List<string>();
            if (parser.TryConsume<SequenceStart>(out _))
            {
                while (!parser.TryConsume<SequenceEnd>(out _))
                    AddScalar(parser, values, key, path);
            }
            else
            {
                AddScalar(parser, values, key, path);
            }
            map.Add((key, values));
        }
        return map;
    }

    private static void AddScalar(Parser parser, List<string> values, string key, string path)
    {
        if (!parser.TryConsume<Scalar>(out var scalar))
            throw new ConfigurationException($"failed to read {path}: the value of {key} must be a scalar or a list of scalars");
        if (!IsNull(scalar))
            values.Add(scalar.Value);
    }

    private static bool IsNull(Scalar scalar) => scalar.Style == ScalarStyle.Plain && scalar.Value is "" or "~" or "null" or "Null" or "NULL";
}

/// <summary>One key of the config files after merging: its values in order, and the file that spoke last.</summary>
internal readonly record struct ConfigEntry(string Key, List<string> Values, string Path);
