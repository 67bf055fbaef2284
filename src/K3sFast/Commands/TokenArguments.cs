using System.Text.RegularExpressions;
using K3sFast.ApiMachinery;
using K3sFast.ApiServer;
using K3sFast.Configuration;

namespace K3sFast.Commands;

/// <summary>The words after <c>k3sfast token create|delete|generate|list</c>.</summary>
internal sealed partial class TokenArguments
{
    public string DataDir { get; private set; } = FlagTable.DefaultDataDir;
    public string Kubeconfig { get; private set; } = "";
    public string Description { get; private set; } = "";
    public List<string> Groups { get; } = [];
    public List<string> Usages { get; } = [];
    /// <summary>How long the token is good; zero = for ever.</summary>
    public TimeSpan Ttl { get; private set; } = TimeSpan.FromHours(24);
    public string Output { get; private set; } = "text";
    public List<string> Words { get; } = [];

    /// <exception cref="ConfigurationException">A word that is not known or malformed.</exception>
    public static TokenArguments Parse(ReadOnlySpan<string> arguments, Func<string, string?> environment)
    {
        var parsed = new TokenArguments();
        if (environment("K3S_DATA_DIR") is { Length: > 0 } data)
            parsed.DataDir = data;
        for (var i = 0; i < arguments.Length; i++)
        {
            var word = arguments[i];
            if (word.Length < 2 || word[0] != '-')
            {
                parsed.Words.Add(word);
                continue;
            }
            var name = word.TrimStart('-');
            var equals = name.IndexOf('=');
            var value = equals >= 0 ? name[(equals + 1)..] : ++i < arguments.Length ? arguments[i] : throw new ConfigurationException($"flag needs an argument: -{name}");
            parsed.Take(equals >= 0 ? name[..equals] : name, value);
        }
        if (parsed.Groups.Count == 0)
            parsed.Groups.Add("system:bootstrappers:k3s:default-node-token");
        if (parsed.Usages.Count == 0)
            parsed.Usages.AddRange(["signing", "authentication"]);
        return parsed;
    }

    private void Take(string name, string value)
    {
        switch (name)
        {
            case "data-dir" or "d":
                DataDir = value;
                break;
            case "kubeconfig":
                Kubeconfig = value;
                break;
            case "description":
                Description = value;
                break;
            case "groups":
                foreach (var group in value.Split(','))
                    Groups.Add(GroupForm().IsMatch(group) ? group : throw new ConfigurationException($"bootstrap group \"{group}\" is invalid (must match {GroupForm()})"));
                break;
            case "usages":
                foreach (var usage in value.Split(','))
                    Usages.Add(usage is "signing" or "authentication" ? usage : throw new ConfigurationException($"invalid bootstrap token usage string: {usage}, valid usage options: [signing authentication]"));
                break;
            case "ttl":
                Ttl = value == "0" ? TimeSpan.Zero
                    : GoDuration.TryParse(value, out var ttl, out var why) && ttl >= TimeSpan.Zero ? ttl
                    : throw new ConfigurationException($"invalid value \"{value}\" for flag -ttl: {why}");
                break;
            case "output" or "o":
                Output = value is "text" or "json" ? value : throw new ConfigurationException($"invalid output format: {value}, must be text or json");
                break;
            default:
                throw new ConfigurationException($"flag provided but not defined: -{name}");
        }
    }

    [GeneratedRegex(@"\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z")]
    private static partial Regex GroupForm();
}
