using System.Text.RegularExpressions;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Upstream's --runtime-config: which group versions and resources are served. Keys are api/all, api/ga, api/beta, api/alpha,
/// group/version and group/version/resource; the narrower wins.
/// </summary>
/// <remarks>Immutable.</remarks>
public sealed partial class RuntimeConfig
{
    private static readonly (string Key, Func<string, bool> Matches)[] s_classes =
    [
        ("api/all", static _ => true),
        ("api/ga", static version => GaVersion().IsMatch(version)),
        ("api/beta", static version => BetaVersion().IsMatch(version)),
        ("api/alpha", static version => AlphaVersion().IsMatch(version)),
    ];

    private readonly Dictionary<string, bool> _classes = [];
    private readonly Dictionary<string, bool> _versions = [];
    private readonly Dictionary<string, bool> _resources = [];

    private RuntimeConfig()
    {
    }

    /// <summary>What upstream serves when nothing is said.</summary>
    public static RuntimeConfig Default { get; } = new();

    /// <summary>Reads "api/beta=true,batch/v1=false"; a key without a value is true.</summary>
    /// <exception cref="ApiServerStartException">A group or version that is not known, or no boolean; in upstream's words.</exception>
    public static RuntimeConfig Parse(string text)
    {
        var config = new RuntimeConfig();
        var unknown = new List<string>();
        foreach (var word in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            int equals = word.IndexOf('=');
            string key = equals < 0 ? word : word[..equals].Trim(), value = equals < 0 ? "" : word[(equals + 1)..].Trim();
            if (s_classes.Any(known => known.Key == key))
                config._classes[key] = value switch { "true" => true, "false" => false, _ => throw new ApiServerStartException($"invalid value {key}={value}") };
            else
                config.Add(key, value, unknown);
        }
        if (unknown.Count > 0)
            throw new ApiServerStartException($"unknown api groups {string.Join(',', unknown)}");
        return config;
    }

    /// <summary>Whether the resource is served: its version is on, and so is the gate that it needs.</summary>
    internal bool IsServed(ResourceInfo resource)
    {
        string version = $"{resource.Group}/{resource.Version}";
        bool isOn = resource.EnabledByDefault;
        foreach (var (key, matches) in s_classes)
            if (_classes.TryGetValue(key, out bool all) && matches(resource.Version))
                isOn = all;
        if (_versions.TryGetValue(version, out bool wanted))
            isOn = wanted;
        if (_resources.TryGetValue($"{version}/{resource.Resource}", out wanted))
            isOn = wanted;
        return isOn && (resource.FeatureGate.Length == 0 || FeatureGates.Current.IsOn(resource.FeatureGate));
    }

    private void Add(string key, string value, List<string> unknown)
    {
        var parts = key.Split('/');
        // The core group is written without a group, or as upstream's clients write its path.
        if (key == "v1" || key == "api/v1")
            parts = ["", "v1"];
        if (parts.Length is < 2 or > 3)
            throw new ApiServerStartException($"runtime-config invalid key {key}");
        var resources = Schema.BuiltIn.Resources;
        if (!resources.Any(r => r.Group == parts[0]))
        {
            unknown.Add(key);
            return;
        }
        if (!resources.Any(r => r.Group == parts[0] && r.Version == parts[1]) && !IsRetired(parts[0], parts[1]))
            throw new ApiServerStartException($"group version {parts[0]}/{parts[1]} that has not been registered");
        if ((value.Length == 0 ? true : GoBoolean.Parse(value)) is not { } isOn)
            throw new ApiServerStartException($"invalid value of {key}: {value}, err: strconv.ParseBool: parsing {GoText.Quote(value)}: invalid syntax");
        if (parts.Length == 2)
        {
            _versions[$"{parts[0]}/{parts[1]}"] = isOn;
            return;
        }
        if (parts[2] != parts[2].ToLowerInvariant())
            throw new ApiServerStartException($"invalid key {key}: group/version/resource and resource is always lowercase plural, not {GoText.Quote(parts[2])}");
        _resources[$"{parts[0]}/{parts[1]}/{parts[2]}"] = isOn;
    }

    // Versions that upstream still knows by name and serves nothing of.
    private static bool IsRetired(string group, string version) => (group, version) switch
    {
        ("apps", "v1beta1" or "v1beta2") or ("batch", "v1beta1") or ("discovery.k8s.io", "v1beta1") or ("node.k8s.io", "v1beta1" or "v1alpha1") => true,
        ("autoscaling", "v2beta1" or "v2beta2") or ("policy", "v1beta1") or ("scheduling.k8s.io", "v1beta1" or "v1alpha1") or ("events.k8s.io", "v1beta1") => true,
        ("authentication.k8s.io" or "authorization.k8s.io" or "networking.k8s.io" or "coordination.k8s.io" or "rbac.authorization.k8s.io", "v1beta1") => true,
        ("flowcontrol.apiserver.k8s.io", "v1beta1" or "v1beta2" or "v1beta3") or ("storage.k8s.io", "v1alpha1") or ("rbac.authorization.k8s.io", "v1alpha1") => true,
        _ => false,
    };

    [GeneratedRegex("^v[0-9]+$")]
    private static partial Regex GaVersion();

    [GeneratedRegex("^v[0-9]+beta[0-9]+$")]
    private static partial Regex BetaVersion();

    [GeneratedRegex("^v[0-9]+alpha[0-9]+$")]
    private static partial Regex AlphaVersion();
}
