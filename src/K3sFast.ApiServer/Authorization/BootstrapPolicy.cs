using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// The roles and bindings that a cluster is born with, from the embedded table. One line per rule or binding, tab separated: kind, namespace,
/// name, API groups ("-" = core), resources, resource names, paths, verbs, role, subjects, aggregates (admin, edit, view), aggregated to.
/// </summary>
internal static class BootstrapPolicy
{
    private const string AggregatePrefix = "rbac.authorization.k8s.io/aggregate-to-";

    /// <summary>One object of the table: its lines.</summary>
    internal sealed record Entry(string Kind, string Namespace, string Name, List<string[]> Lines)
    {
        internal bool IsBinding => Kind.EndsWith("Binding", StringComparison.Ordinal);
    }

    /// <summary>Upstream's order: roles before the bindings that name them; then those of <paramref name="further"/>, in the table's form.</summary>
    internal static IReadOnlyList<Entry> Load(IReadOnlyList<string>? further = null)
    {
        var entries = new List<Entry>();
        using var stream = typeof(BootstrapPolicy).Assembly.GetManifestResourceStream("bootstrap-rbac.tsv")
            ?? throw new InvalidOperationException("the table of bootstrap roles is not in the binary");
        using var reader = new StreamReader(stream);
        while (reader.ReadLine() is { } line)
            Add(entries, line);
        foreach (var line in further ?? [])
            Add(entries, line);
        return entries;
    }

    private static void Add(List<Entry> entries, string line)
    {
        var columns = line.Split('\t');
        if (entries.Count == 0 || entries[^1].Kind != columns[0] || entries[^1].Namespace != columns[1] || entries[^1].Name != columns[2])
            entries.Add(new Entry(columns[0], columns[1], columns[2], []));
        entries[^1].Lines.Add(columns);
    }

    /// <summary>The rules of system:node, which the node authorizer uses where it has no finer answer.</summary>
    internal static PolicyRule[] NodeRules()
    {
        foreach (var entry in Load())
        {
            if (entry is not { Kind: "ClusterRole", Name: "system:node" })
                continue;
            using var document = new ApiObject();
            WriteRules(document.Root, entry);
            return RbacPolicy.Rules(document.Root);
        }
        return [];
    }

    /// <summary>Writes an entry as an object of rbac.authorization.k8s.io/v1.</summary>
    internal static void Write(Entry entry, ApiNode obj)
    {
        obj.Set("kind"u8, entry.Kind);
        obj.Set("apiVersion"u8, "rbac.authorization.k8s.io/v1"u8);
        var metadata = obj.GetOrAddObject("metadata"u8);
        metadata.Set("name"u8, entry.Name);
        if (entry.Namespace.Length > 0)
            metadata.Set("namespace"u8, entry.Namespace);
        metadata.GetOrAddObject("annotations"u8).Set("rbac.authorization.kubernetes.io/autoupdate"u8, "true"u8);
        metadata.GetOrAddObject("labels"u8).Set("kubernetes.io/bootstrapping"u8, "rbac-defaults"u8);
        var first = entry.Lines[0];
        if (first[11].Length > 0)
            metadata["labels"u8].Set(Encoding.UTF8.GetBytes(AggregatePrefix + first[11]), "true"u8);
        if (entry.IsBinding)
        {
            WriteBinding(obj, first);
            return;
        }
        if (first[10].Length > 0)
        {
            var selector = obj.GetOrAddObject("aggregationRule"u8).GetOrAddArray("clusterRoleSelectors"u8).AppendObject();
            selector.GetOrAddObject("matchLabels"u8).Set(Encoding.UTF8.GetBytes(AggregatePrefix + first[10]), "true"u8);
        }
        WriteRules(obj, entry);
    }

    private static void WriteRules(ApiNode obj, Entry entry)
    {
        var rules = obj.GetOrAddArray("rules"u8);
        foreach (var line in entry.Lines)
        {
            if (line[7].Length == 0)
                continue;
            var rule = rules.AppendObject();
            Strings(rule, "verbs"u8, line[7]);
            Strings(rule, "apiGroups"u8, line[3]);
            Strings(rule, "resources"u8, line[4]);
            Strings(rule, "resourceNames"u8, line[5]);
            Strings(rule, "nonResourceURLs"u8, line[6]);
        }
    }

    private static void WriteBinding(ApiNode obj, string[] line)
    {
        var role = line[8].Split('/', 2);
        var reference = obj.GetOrAddObject("roleRef"u8);
        reference.Set("apiGroup"u8, "rbac.authorization.k8s.io"u8);
        reference.Set("kind"u8, role[0]);
        reference.Set("name"u8, role[1]);
        if (line[9].Length == 0)
            return;
        var subjects = obj.GetOrAddArray("subjects"u8);
        foreach (var text in line[9].Split(' '))
        {
            var colon = text.IndexOf(':', StringComparison.Ordinal);
            var kind = text[..colon];
            var name = text[(colon + 1)..];
            var subject = subjects.AppendObject();
            subject.Set("kind"u8, kind);
            if (kind == "ServiceAccount")
            {
                var slash = name.IndexOf('/', StringComparison.Ordinal);
                subject.Set("namespace"u8, name[..slash]);
                subject.Set("name"u8, name[(slash + 1)..]);
            }
            else
            {
                subject.Set("apiGroup"u8, "rbac.authorization.k8s.io"u8);
                subject.Set("name"u8, name);
            }
        }
    }

    private static void Strings(ApiNode rule, ReadOnlySpan<byte> name, string list)
    {
        if (list.Length == 0)
            return;
        var array = rule.GetOrAddArray(name);
        foreach (var item in list.Split(','))
            array.AppendString(item == "-" ? default : Encoding.UTF8.GetBytes(item));
    }
}
