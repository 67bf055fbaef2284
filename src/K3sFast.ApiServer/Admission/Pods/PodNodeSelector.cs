using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>PodNodeSelector: all pods of a namespace go to the nodes that its annotation, or the cluster's default, selects.</summary>
internal sealed class PodNodeSelector : AdmissionPlugin
{
    private readonly ResourceStorage _namespaces;
    private readonly Dictionary<string, string> _selectors = new(StringComparer.Ordinal);

    internal PodNodeSelector(ApiNode configuration, ResourceStorage namespaces)
    {
        _namespaces = namespaces;
        foreach (var member in configuration["podNodeSelectorPluginConfig"u8].Members)
            _selectors[Encoding.UTF8.GetString(member.Name)] = member.Value.AsString();
    }

    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsPod || !context.IsCreate)
            return;
        var spec = context.Object.GetOrAddObject("spec"u8);
        var wanted = SelectorOf(context.Namespace);
        Check(context, spec, wanted);
        foreach (var (key, value) in wanted)
            spec.GetOrAddObject("nodeSelector"u8).Set(Encoding.UTF8.GetBytes(key), value);
    }

    internal override void Validate(AdmissionContext context)
    {
        if (!context.IsPod || !context.IsCreate)
            return;
        var spec = context.Object["spec"u8];
        Check(context, spec, SelectorOf(context.Namespace));
        var whitelist = Parse(_selectors.GetValueOrDefault(context.Namespace, ""));
        if (whitelist.Count == 0)
            return;
        foreach (var member in spec["nodeSelector"u8].Members)
        {
            if (!whitelist.TryGetValue(Encoding.UTF8.GetString(member.Name), out var value) || value != member.Value.AsString())
                throw context.Forbid("pod node label selector labels conflict with its namespace whitelist");
        }
    }

    private static void Check(AdmissionContext context, ApiNode spec, Dictionary<string, string> wanted)
    {
        foreach (var (key, value) in wanted)
        {
            var own = spec["nodeSelector"u8][Encoding.UTF8.GetBytes(key)];
            if (own.IsDefined && own.AsString() != value)
                throw context.Forbid("pod node label selector conflicts with its namespace node label selector");
        }
    }

    private Dictionary<string, string> SelectorOf(string ns)
    {
        using var stored = _namespaces.Get("", ns) ?? throw ApiStatus.NotFound("", "namespaces", ns).ToException();
        using var document = _namespaces.Decode(stored);
        var annotation = document.Root["metadata"u8]["annotations"u8]["scheduler.alpha.kubernetes.io/node-selector"u8];
        return Parse(annotation.IsDefined ? annotation.AsString() : _selectors.GetValueOrDefault("clusterDefaultNodeSelector", ""));
    }

    // key=value, comma separated.
    private static Dictionary<string, string> Parse(string text)
    {
        var labels = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var term in text.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = term.Split('=');
            if (parts.Length != 2)
                throw ApiStatus.Unknown($"invalid selector: [{term}]").ToException();
            labels[parts[0].Trim()] = parts[1].Trim();
        }
        return labels;
    }
}
